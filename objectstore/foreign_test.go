package objectstore

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// TestAnswersOfProxies has what stands before a storage answer for it, through
// every call and all that lies between the call and the wire.
func TestAnswersOfProxies(t *testing.T) {
	const page = "<html><head><title>404 Not Found</title></head><body>The page does not exist</body></html>"
	for _, c := range []struct {
		status   int
		location string
		kind     Kind
		want     string
	}{
		{http.StatusForbidden, "", s3err.NotS3, "the answer is HTTP 403, text/html"},
		{http.StatusBadRequest, "", s3err.NotS3, "the answer is HTTP 400, text/html"},
		{http.StatusMovedPermanently, "https://login.example.com/sign-in?token=x", s3err.NotS3, "redirects to https://login.example.com/sign-in; s3Url must be"},
		{http.StatusRequestEntityTooLarge, "", s3err.TooLarge, "client_max_body_size"},
		{http.StatusBadGateway, "", s3err.Server, "the answer is HTTP 502, text/html"},
	} {
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/html")
			if c.location != "" {
				w.Header().Set("Location", c.location)
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, page)
		})
		for op, err := range everyCall(t.Context(), openAt(t, address, nil), "bucket") {
			require.Equal(t, c.kind, KindOf(err), "%s, %d: %v", op, c.status, err)
			require.ErrorContains(t, err, c.want, op)
			require.NotContains(t, err.Error(), "the storage answered", "these are no words of S3")
		}
	}
}

// TestRedirectToHTTPS has a proxy that sends every request to the same path of
// another address.
func TestRedirectToHTTPS(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://s3.example.com"+r.URL.RequestURI(), http.StatusPermanentRedirect)
	})
	for op, err := range everyCall(t.Context(), openAt(t, address, nil), "bucket") {
		require.Equal(t, s3err.NotS3, KindOf(err), "%s: %v", op, err)
		require.ErrorContains(t, err, "; set s3Url to https://s3.example.com", op)
	}
}

// TestDownloadIsMissingOnlyIfItIs wants the words by which Velero takes an object
// for deleted only where the storage says so of this very object.
func TestDownloadIsMissingOnlyIfItIs(t *testing.T) {
	words := regexp.MustCompile(`(?i)not found|does not exist|nosuchkey`)
	document := func(status int, code, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"no bucket": document(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist"),
		"refused":   document(http.StatusForbidden, "AccessDenied", "NoSuchKey? Not found? It does not exist for you"),
		"page":      http.NotFound,
		"failing":   document(http.StatusInternalServerError, "InternalError", "backend not found"),
		"unknown":   document(http.StatusTeapot, "NoSuchKeyOrWhatever", "does not exist"),
		"broken":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		body, err := openAt(t, serve(t, answer), nil).GetObject(t.Context(), "bucket", "key")
		require.Error(t, err, name)
		require.Nil(t, body)
		require.NotEqual(t, s3err.NotFound, KindOf(err), name)
		require.False(t, words.MatchString(err.Error()), "%s: %v", name, err)
	}
	_, err := openAt(t, "http://no-such-host.invalid", nil).GetObject(t.Context(), "bucket", "key")
	require.False(t, words.MatchString(err.Error()), "%v", err)
	missing := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bucket/key" {
			document(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")(w, r)
			return
		}
		_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
	})
	_, err = openAt(t, missing, nil).GetObject(t.Context(), "bucket", "key")
	require.Equal(t, s3err.NotFound, KindOf(err), "%v", err)
	require.True(t, words.MatchString(err.Error()), "%v", err)
}
