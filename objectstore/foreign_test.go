package objectstore

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
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

// TestMissingByTheStoragesWords looks for an object behind a proxy that has just been
// restarted, and answers for what it does not know yet: a HEAD has no body by which
// its answers and the storage's could be told apart.
func TestMissingByTheStoragesWords(t *testing.T) {
	var answer http.HandlerFunc
	store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) }), nil)
	look := func(found http.HandlerFunc) (bool, error) {
		answer = func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
		}
		_, err := store.ListObjects(t.Context(), "bucket", "")
		require.NoError(t, err, "the bucket is there")
		answer = found
		return store.ObjectExists(t.Context(), "bucket", "key")
	}
	document := func(code string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			if r.Method != http.MethodHead {
				_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
			}
		}
	}

	_, err := look(http.NotFound)
	require.Equal(t, s3err.NotS3, KindOf(err), "%v", err)
	there, err := look(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			http.NotFound(w, r)
		}
	})
	require.NoError(t, err)
	require.True(t, there, "only the HEAD met the proxy")
	_, err = look(document("NoSuchBucket"))
	require.Equal(t, s3err.NoBucket, KindOf(err), "%v", err)
	there, err = look(document("NoSuchKey"))
	require.NoError(t, err)
	require.False(t, there)
}

// TestDeletionThatFailed answers a deletion with HTTP 200, and with S3's own words that it
// failed.
func TestDeletionThatFailed(t *testing.T) {
	asked := 0
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>InternalError</Code><Message>because</Message></Error>`)
	})
	err := openAt(t, address, nil).DeleteObject(t.Context(), "bucket", "key")
	require.Equal(t, s3err.Server, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "InternalError")
	require.Equal(t, 2, asked, "and once more")
}

// TestRefusalWithAGoodStatus has a storage say with HTTP 200 that it is busy: the
// request is made again, and if that goes on its words are the error.
func TestRefusalWithAGoodStatus(t *testing.T) {
	t.Parallel()
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	store := behind.open(t, bucket, map[string]string{"maxRetries": "1", "partSize": "5MiB"})
	require.NoError(t, store.PutObject(t.Context(), bucket, "kept", strings.NewReader("body")))
	isListing := func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("prefix") }
	for name, call := range map[string]struct {
		meets func(*http.Request) bool
		do    func() error
	}{
		"listing": {isListing, func() error {
			keys, err := store.ListObjects(t.Context(), bucket, "")
			if err == nil {
				require.Contains(t, keys, "kept")
			}
			return err
		}},
		"uploads": {isListing, func() error {
			_, err := store.ListUploads(t.Context(), bucket, "")
			return err
		}},
		"upload": {isCreate, func() error {
			return store.PutObject(t.Context(), bucket, "large", io.LimitReader(&noise{state: 1}, 6<<20))
		}},
		"part": {isPart, func() error {
			return store.PutObject(t.Context(), bucket, "large", io.LimitReader(&noise{state: 1}, 6<<20))
		}},
		"body":     {isMethod(http.MethodPut), func() error { return store.PutObject(t.Context(), bucket, "small", strings.NewReader("body")) }},
		"deletion": {isMethod(http.MethodDelete), func() error { return store.DeleteObject(t.Context(), bucket, "there") }},
	} {
		proxy.on(first(1, call.meets, answer(http.StatusOK, "SlowDown")))
		require.NoError(t, call.do(), name)
		require.GreaterOrEqual(t, len(proxy.seen), 2, name)
		proxy.on(first(100, call.meets, answer(http.StatusOK, "SlowDown")))
		err := call.do()
		require.Equal(t, s3err.Throttled, KindOf(err), "%s: %v", name, err)
		require.ErrorContains(t, err, "SlowDown: because", name)
	}
}
