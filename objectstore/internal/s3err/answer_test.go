package s3err

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// ask sends a request to a server that answers so, and returns what leaves.
func ask(t *testing.T, op, method string, handler http.HandlerFunc) *Error {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/bucket/key", nil)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	return failed(t, op, Refusal(method, resp))
}

func failed(t testing.TB, op string, err error) *Error {
	t.Helper()
	require.Error(t, err)
	log := logrus.New()
	log.SetOutput(io.Discard)
	r := Reporter{Endpoint: "https://s3.example.com", Region: "us-east-1", Secrets: &Secrets{}, Log: log}
	var e *Error
	require.ErrorAs(t, r.Failed(op, "bucket", "key", err), &e)
	return e
}

// given answers every request alike; header is name, value, name, value.
func given(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestAnswersOfS3(t *testing.T) {
	const id = "X-Amz-Request-Id"
	for _, c := range []struct {
		method string
		answer http.HandlerFunc
		kind   Kind
		want   string
	}{
		{"GET", given(403, "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message><RequestId>R1</RequestId></Error>"), Forbidden, "the storage answered AccessDenied: Access Denied (HTTP 403, request R1)"},
		{"GET", given(403, "<?xml version=\"1.1\" encoding=\"latin1\"?>\n<Error xmlns=\"x\"><Code>RequestTimeTooSkewed</Code></Error>"), Clock, "the storage answered RequestTimeTooSkewed (HTTP 403)"},
		{"GET", given(404, "\ufeff<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>&unknown; no</Message></Error>"), NoBucket, "NoSuchBucket"},
		{"GET", given(404, "\ufeff<?xml version='1.1' encoding='latin1'?><Error><Code>NoSuchBucket</Code><Message>&unknown; no</Message></Error>"), NoBucket, "NoSuchBucket"},
		{"GET", given(301, "<Error><Code>PermanentRedirect</Code><Message>x</Message></Error>", "X-Amz-Bucket-Region", "eu-west-1", "Location", "https://b.s3.amazonaws.com/"), Region, "set region: eu-west-1"},
		{"GET", given(507, "<Error><Code>Odd</Code></Error>"), Full, "the storage answered Odd (HTTP 507)"},
		{"HEAD", given(404, ""), NotFound, "the storage answered HTTP 404 and gave no reason"},
		{"HEAD", given(403, "", id, "R2"), Forbidden, "the storage answered HTTP 403 and gave no reason (request R2)"},
		{"HEAD", given(301, "", "X-Amz-Bucket-Region", "eu-west-1"), Region, "set region: eu-west-1"},
		{"HEAD", given(400, "", "X-Amz-Bucket-Region", "eu-west-1"), Region, "set region: eu-west-1"},
		{"HEAD", given(404, "", "X-Minio-Error-Code", "NoSuchBucket", "X-Minio-Error-Desc", "no bucket"), NoBucket, "NoSuchBucket: no bucket"},
		{"GET", given(412, "", id, "R3"), Changed, "HTTP 412 and gave no reason"},
	} {
		e := ask(t, OpOpen, c.method, c.answer)
		require.Equal(t, c.kind, e.Kind, e)
		require.ErrorContains(t, e, c.want)
		require.True(t, HasKind(e.Err))
	}
}

// TestAnswersOfOthers has what stands between a plugin and its storage answer
// for it. No word of S3 may be in the error that was not in the answer.
func TestAnswersOfOthers(t *testing.T) {
	const page = "<html>\n<head><title>403 Forbidden</title></head>"
	for _, c := range []struct {
		method string
		answer http.HandlerFunc
		kind   Kind
		want   []string
	}{
		{"GET", given(403, page, "Content-Type", "text/html"), NotS3, []string{"HTTP 403, text/html, and begins", "<title>403 Forbidden"}},
		{"GET", given(404, "404 page not found\n", "Content-Type", "text/plain"), NotS3, []string{"HTTP 404", "404 page missing"}},
		{"GET", given(400, ""), NotS3, []string{"HTTP 400", "empty"}},
		{"PUT", given(403, `{"Code":"AccessDenied"}`, "Content-Type", "application/json"), NotS3, []string{`{\"Code\"`}},
		{"GET", given(403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"), NotS3, []string{"<ErrorResponse>"}},
		{"GET", given(403, "<Error><Message>no code</Message></Error>"), NotS3, []string{"no code"}},
		{"GET", given(501, page), NotS3, []string{"HTTP 501"}},
		{"GET", given(502, page, "Content-Type", "text/html"), Server, []string{"HTTP 502, text/html"}},
		{"GET", given(503, "upstream is away"), Throttled, []string{"upstream is away", "is not ready or overloaded; look at both"}},
		{"GET", given(429, ""), Throttled, []string{"HTTP 429", "asks to slow down"}},
		{"GET", given(400, "<html><center>No required SSL certificate was sent</center>"), NotS3, []string{"wants a client certificate"}},
		{"GET", given(400, "<html>The plain HTTP request was sent to HTTPS port</html>"), NotS3, []string{"use https:// in s3Url"}},
		{"GET", given(400, "Client sent an HTTP request to an HTTPS server.\n"), NotS3, []string{"use https:// in s3Url"}},
		{"GET", given(407, ""), NotS3, []string{"proxyUrl"}},
		{"PUT", given(413, "<html>too large</html>"), TooLarge, []string{"client_max_body_size", "proxy-body-size", "partSize"}},
		{"GET", given(308, "", "Location", "https://s3.example.com/bucket/key"), NotS3, []string{"HTTP 308 redirects to https://s3.example.com/bucket/key; set s3Url to https://s3.example.com"}},
		{"HEAD", given(301, "", "Location", "https://s3.example.com:8443/bucket/key?x=y"), NotS3, []string{"set s3Url to https://s3.example.com:8443"}},
		{"GET", given(302, "", "Location", "https://login.example.com/sign-in?from=secret"), NotS3, []string{"redirects to https://login.example.com/sign-in; s3Url must be the S3 API"}},
		{"GET", given(302, page, "Location", "/login"), NotS3, []string{"HTTP 302"}},
	} {
		e := ask(t, OpList, c.method, c.answer)
		require.Equal(t, c.kind, e.Kind, e)
		for _, want := range c.want {
			require.ErrorContains(t, e, want)
		}
		require.NotContains(t, e.Error(), "the storage answered")
		require.NotContains(t, e.Error(), "secret")
		require.NotContains(t, e.Error(), "NoSuchBucket")
	}
}

// TestRedirectToTheSameHost may not show the host: the bucket may be in it.
func TestRedirectToTheSameHost(t *testing.T) {
	e := ask(t, OpList, http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
	})
	require.Equal(t, NotS3, e.Kind)
	require.Equal(t, "use https:// in s3Url", e.Hint())
}

// TestForeignTextIsCleaned has each part of an answer hold what must not reach a
// terminal or fill a log.
func TestForeignTextIsCleaned(t *testing.T) {
	nasty := "a\u202eb\u2066c\x1b[31md\r\n\te\u200bf" + strings.Repeat("long ", 200_000)
	escaped := strings.NewReplacer("\x1b", "&#xfffd;", "\r", "&#13;").Replace(nasty)
	for name, answer := range map[string]http.HandlerFunc{
		"code":    given(400, "<Error><Code>"+escaped[:4000]+"</Code></Error>"),
		"message": given(400, "<Error><Code>Odd</Code><Message>"+escaped[:900_000]+"</Message></Error>"),
		"request": given(400, "<Error><Code>Odd</Code><RequestId>"+escaped[:4000]+"</RequestId></Error>"),
		"page":    given(400, nasty),
		"header":  given(301, "", "X-Amz-Bucket-Region", strings.Repeat("x", 10_000), "X-Amz-Request-Id", strings.Repeat("y", 10_000)),
		"type":    given(400, "", "Content-Type", strings.Repeat("z", 10_000)),
		"target":  given(302, "", "Location", "https://"+strings.Repeat("z", 10_000)+"/x"),
	} {
		e := ask(t, OpList, http.MethodGet, answer)
		requireClean(t, e.Error())
		require.Contains(t, e.Error(), ellipsis, name)
	}
	requireClean(t, failed(t, OpList, errors.New(nasty)).Error())
}

// TestEOF is for minio-go, which replaces errors that contain it.
func TestEOF(t *testing.T) {
	e := ask(t, OpPut, http.MethodPut, given(400, "<Error><Code>MalformedXML</Code><Message>unexpected EOF</Message></Error>"))
	require.ErrorContains(t, e, "MalformedXML: unexpected end of file")
}

func requireClean(t testing.TB, text string) {
	t.Helper()
	require.Less(t, len(text), 4000)
	for _, r := range text {
		require.True(t, unicode.IsGraphic(r), "%q in %q", r, text)
	}
}

// TestErrorsHaveLimits reads an answer that does not end.
func TestErrorsHaveLimits(t *testing.T) {
	endless := &endlessBody{}
	err := Refusal(http.MethodGet, &http.Response{StatusCode: http.StatusInternalServerError, Body: endless, Header: http.Header{}})
	require.Error(t, err)
	require.Less(t, endless.read, 4<<20)
}

type endlessBody struct{ read int }

func (b *endlessBody) Read(p []byte) (int, error) {
	b.read += len(p)
	return len(p), nil
}

func (b *endlessBody) Close() error { return nil }

// FuzzRefusal wants of any answer: words of S3 only from a document of S3, a
// text that is bounded and clean, and the words that Velero acts upon only with
// the kind that means them.
func FuzzRefusal(f *testing.F) {
	f.Add(403, "GET", "", "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
	f.Add(404, "HEAD", "https://x/", "")
	f.Add(301, "PUT", "https://host/bucket/key", "<html>does not exist</html>")
	f.Add(400, "GET", "\u202e", "<?xml version='1.1'?><Error><Code>nosuchkey\x1b</Code></Error>")
	f.Fuzz(func(t *testing.T, status int, method, location, body string) {
		resp := &http.Response{StatusCode: status, Header: http.Header{"Location": {location}, "Content-Type": {location}}, Body: io.NopCloser(strings.NewReader(body))}
		err := Refusal(method, resp)
		if status/100 == 2 {
			require.NoError(t, err)
			return
		}
		var answer *Answer
		if errors.As(err, &answer) && answer.Code != "" {
			require.Contains(t, body, "Error")
			require.Contains(t, body, "Code")
		}
		e := failed(t, OpGet, err)
		require.NotEmpty(t, e.Kind)
		requireClean(t, e.Error())
		if e.Kind != NotFound {
			require.False(t, missingWords.MatchString(e.Error()), e)
		}
		require.NotContains(t, fmt.Sprintf("%+v %#v", e, e), "\x1b")
	})
}
