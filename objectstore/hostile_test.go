package objectstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
	"github.com/stretchr/testify/require"
)

// openAt opens a location at a server that is none of the real ones.
func openAt(t testing.TB, address string, more map[string]string) *Store {
	s := &server{endpoint: address, access: "ACCESSKEY", secret: "a-secret-key"}
	config := map[string]string{"maxRetries": "1", "requestTimeout": "1s", "stallTimeout": "1s", "partSize": "5MiB"}
	for k, v := range more {
		config[k] = v
	}
	store := s.open(t, "bucket", config)
	store.client.FirstPause = 10 * time.Millisecond
	return store
}

func serve(t testing.TB, handler http.HandlerFunc) string {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		// The kernel would take megabytes of an answer that nobody reads.
		_ = conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
		return ctx
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

func TestConsoleIsNoS3(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Etag", `"0123456789abcdef0123456789abcdef"`)
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><body>Console</body></html>")
	})
	for op, err := range everyCall(t.Context(), openAt(t, address, nil), "bucket") {
		require.Equal(t, s3err.NotS3, KindOf(err), "%s: %v", op, err)
		require.ErrorContains(t, err, "s3Url must be the S3 API of the storage")
	}
}

func TestAnyXMLIsNoListing(t *testing.T) {
	for _, page := range []string{
		"", "{}", "<html></html>", `<?xml version="1.0"?><!-- x --><ListAllMyBucketsResult/>`, "\x00\x01",
	} {
		address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/xml")
			_, _ = io.WriteString(w, page)
		})
		store := openAt(t, address, nil)
		_, err := store.ListObjects(t.Context(), "bucket", "")
		require.Equal(t, s3err.NotS3, KindOf(err), "%q: %v", page, err)
		_, err = store.ListCommonPrefixes(t.Context(), "bucket", "", "/")
		require.Equal(t, s3err.NotS3, KindOf(err), "%q: %v", page, err)
	}
}

// TestSuccessWithoutObject has answers of success that bring no object, at first and
// after a download has broken off.
func TestSuccessWithoutObject(t *testing.T) {
	for _, status := range []int{201, 202, 203, 204, 205, 226, 299} {
		var half atomic.Bool
		store := openAt(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Request-Id", "1")
			if half.Swap(false) {
				w.Header().Set("Etag", `"etag"`)
				w.Header().Set("Content-Length", "2000")
				_, _ = w.Write(make([]byte, 1000))
				return
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<A>")
		}), nil)
		_, err := store.GetObject(t.Context(), "bucket", "key")
		require.Equal(t, s3err.NotS3, KindOf(err), "%v", err)
		require.ErrorContains(t, err, fmt.Sprintf("the answer is HTTP %d, which has no object", status))

		half.Store(true)
		body, err := store.GetObject(t.Context(), "bucket", "key")
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, body)
		require.NoError(t, body.Close())
		require.Equal(t, int64(1000), n)
		require.ErrorContains(t, err, fmt.Sprintf("the answer is HTTP %d, which has no object", status))
	}
}

// forgetful answers every request as if all were well and stores nothing, or
// half of it.
type forgetful struct {
	etag string
	half bool
	size atomic.Int64
}

func (f *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	w.Header().Set("X-Amz-Request-Id", "1")
	w.Header().Set("Etag", f.etag)
	switch {
	case r.URL.Query().Has("uploads"):
		_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
	case isComplete(r):
		_, _ = fmt.Fprintf(w, "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>key</Key><ETag>%s</ETag></CompleteMultipartUploadResult>", f.etag)
	case r.Method == http.MethodPut:
		f.size.Add(n)
	case r.Method == http.MethodHead && f.half:
		w.Header().Set("Content-Length", fmt.Sprint(f.size.Load()/2))
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
	}
}

func TestSuccessNeedsProof(t *testing.T) {
	for _, size := range []int{1000, 5<<20 + 1} {
		for _, server := range []*forgetful{
			{etag: `"0123456789abcdef0123456789abcdef"`},
			{etag: `"0123456789abcdef0123456789abcdef"`, half: true},
			{etag: `"no-md5"`}, {etag: `"no-md5"`, half: true}, {etag: "", half: true},
		} {
			store := openAt(t, serve(t, server.ServeHTTP), nil)
			store.uploader.ProofTime = time.Second
			err := store.PutObject(t.Context(), "bucket", "key", bytes.NewReader(content(size, 1)))
			if size > 5<<20 && server.etag == "" {
				require.Equal(t, s3err.NotS3, KindOf(err), "%v", err)
				continue
			}
			require.Equal(t, s3err.NotConfirmed, KindOf(err), "size %d, ETag %s: %v", size, server.etag, err)
		}
	}
}

// TestChecksumOfTheWholeIsProof looks at an object in parts only where the answer to
// Complete does not have the checksum that was computed here.
func TestChecksumOfTheWholeIsProof(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer} {
		real := start(t, testbed.S3Options{Server: kind})
		for algorithm, looks := range map[string]int{"CRC64NVME": 0, "CRC32": 1, "none": 1} {
			t.Run(kind.Name+" "+algorithm, func(t *testing.T) {
				t.Parallel()
				behind, proxy := behindProxy(t, real)
				bucket := real.bucket(t)
				store := behind.open(t, bucket, map[string]string{"partSize": "5MiB", "checksumAlgorithm": algorithm})
				data := content(11<<20, 1)
				mustPut(t, store, bucket, "key", data)
				require.Equal(t, looks, proxy.count("HEAD "))
				require.True(t, bytes.Equal(data, readAll(t.Context(), t, store, bucket, "key")))
			})
		}
	}
	t.Run("of something else", func(t *testing.T) {
		server := &forgetful{etag: `"0123456789abcdef0123456789abcdef"`}
		store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			const sum = "AAAAAAAAAAA="
			if isPart(r) {
				w.Header().Set("X-Amz-Checksum-Crc64nvme", sum)
			}
			if !isComplete(r) {
				server.ServeHTTP(w, r)
				return
			}
			_, _ = fmt.Fprintf(w, "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>key</Key><ETag>%s</ETag><ChecksumCRC64NVME>%s</ChecksumCRC64NVME></CompleteMultipartUploadResult>", server.etag, sum)
		}), map[string]string{"checksumAlgorithm": "CRC64NVME"})
		store.uploader.ProofTime = 10 * time.Millisecond
		err := store.PutObject(t.Context(), "bucket", "key", bytes.NewReader(content(11<<20, 1)))
		require.Equal(t, s3err.NotConfirmed, KindOf(err), "%v", err)
	})
}

func TestSmallObjectsCostOneRequest(t *testing.T) {
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	store := behind.open(t, bucket, nil)
	mustPut(t, store, bucket, "key", content(10000, 1))
	require.Equal(t, 1, proxy.count(""))
}

// TestWireForm looks at every request: it must be one that any S3 server takes.
func TestWireForm(t *testing.T) {
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	store := behind.open(t, bucket, map[string]string{"partSize": "5MiB"})
	seen := make(chan string, 1000)
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		for name, bad := range map[string]bool{
			"no signed payload":   len(r.Header.Get("X-Amz-Content-Sha256")) != 64,
			"content encoding":    r.Header.Get("Content-Encoding") != "",
			"transfer encoding":   len(r.TransferEncoding) > 0 || r.ContentLength < 0,
			"trailer":             len(r.Trailer) > 0 || r.Header.Get("X-Amz-Trailer") != "",
			"checksum":            r.Header.Get("X-Amz-Checksum-Algorithm") != "" || r.Header.Get("X-Amz-Sdk-Checksum-Algorithm") != "",
			"decoded length":      r.Header.Get("X-Amz-Decoded-Content-Length") != "",
			"tagging":             r.Header.Values("X-Amz-Tagging") != nil,
			"accept encoding":     r.Header.Get("Accept-Encoding") != "" && r.Header.Get("Accept-Encoding") != "identity",
			"expect":              r.Header.Get("Expect") != "",
			"operation parameter": r.URL.Query().Has("x-id"),
		} {
			if bad {
				seen <- fmt.Sprintf("%s: %s %s %v", name, r.Method, r.URL, r.Header)
			}
		}
		forward.ServeHTTP(w, r)
	})
	for op, err := range everyCall(t.Context(), store, bucket) {
		require.NoError(t, err, op)
	}
	mustPut(t, store, bucket, "large", content(11<<20, 1))
	body := &cancelingReader{Reader: &noise{state: 1}, left: 11 << 20, cancel: func() {}}
	require.Error(t, store.PutObject(t.Context(), bucket, "aborted", io.MultiReader(io.LimitReader(body, 11<<20), failing{})))
	close(seen)
	for line := range seen {
		t.Error(line)
	}
	require.NotZero(t, proxy.count("POST"))
	require.NotZero(t, proxy.count("DELETE"))
}

// failing is a reader that fails.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestPeerThatNeverReads(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			if _, err := listener.Accept(); err != nil {
				return
			}
		}
	}()
	store := openAt(t, "http://"+listener.Addr().String(), map[string]string{"partSize": "64MiB"})
	within(t, 20*time.Second, func() {
		err := store.PutObject(t.Context(), "bucket", "key", bytes.NewReader(content(40<<20, 1)))
		require.Equal(t, s3err.Timeout, KindOf(err), "%v", err)
		require.ErrorContains(t, err, "takes no more data")
	})
}

// TestPeerThatNeverShakesHands takes connections and says nothing on them.
func TestPeerThatNeverShakesHands(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	store := openAt(t, "https://"+listener.Addr().String(), map[string]string{"maxRetries": "0", "requestTimeout": "1m", "stallTimeout": "1m"})
	within(t, wire.HandshakeTimeout+10*time.Second, func() {
		_, err := store.ObjectExists(t.Context(), "bucket", "key")
		require.Equal(t, s3err.Timeout, KindOf(err), "%v", err)
		require.ErrorContains(t, err, "the TLS handshake 10s")
		require.ErrorContains(t, err, "check s3Url, DNS, network policies")
	})
}

func TestUnreachable(t *testing.T) {
	within(t, 20*time.Second, func() {
		for op, err := range everyCall(t.Context(), openAt(t, "http://"+freeAddress(t), nil), "bucket") {
			require.Equal(t, s3err.Unreachable, KindOf(err), "%s: %v", op, err)
			require.ErrorContains(t, err, "connection refused")
		}
		for op, err := range everyCall(t.Context(), openAt(t, "http://no-such-host.invalid", nil), "bucket") {
			require.Equal(t, s3err.Unreachable, KindOf(err), "%s: %v", op, err)
			require.ErrorContains(t, err, "check s3Url")
		}
	})
}

func TestUnknownCAFailsAtOnce(t *testing.T) {
	hits := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	connections := make(chan struct{}, 100)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections <- struct{}{}
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	store := openAt(t, server.URL, map[string]string{"maxRetries": "6"})
	within(t, 5*time.Second, func() {
		_, err := store.ObjectExists(t.Context(), "bucket", "key")
		require.Equal(t, s3err.Trust, KindOf(err), "%v", err)
		require.ErrorContains(t, err, "spec.objectStorage.caCert")
	})
	require.Len(t, connections, 1)
	require.Zero(t, hits)
}

func TestSchemeMixedUp(t *testing.T) {
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, err := openAt(t, "https"+plain[len("http"):], nil).ObjectExists(t.Context(), "bucket", "key")
	require.ErrorContains(t, err, "the storage may not speak TLS on this port")
}

func TestWrongRegionNamesTheRightOne(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-central-1</Region></Error>`)
	})
	_, err := openAt(t, address, nil).ListObjects(t.Context(), "bucket", "")
	require.Equal(t, s3err.Region, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "set region: eu-central-1")
}

func TestErrorsAreClassifiedByCode(t *testing.T) {
	for code, want := range map[string]struct {
		status int
		kind   Kind
		hint   string
	}{
		"AccessDenied":         {403, s3err.Forbidden, "the credentials need s3:ListBucket"},
		"RequestTimeTooSkewed": {403, s3err.Clock, "set the clock"},
		"QuotaExceeded":        {403, s3err.Full, "quota"},
		"XMinioStorageFull":    {507, s3err.Full, "free space"},
		"InvalidObjectState":   {403, s3err.Archived, "restore it in the storage"},
		"NotImplemented":       {501, s3err.Unsupported, ""},
		"SomethingNew":         {400, s3err.Unknown, ""},
		"NoSuchBucket":         {404, s3err.NoBucket, "create the bucket"},
	} {
		address := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(want.status, code)(w, r, nil) })
		_, err := openAt(t, address, nil).ListObjects(t.Context(), "bucket", "dir/")
		require.Equal(t, want.kind, KindOf(err), "%v", err)
		require.ErrorContains(t, err, want.hint)
		require.ErrorContains(t, err, code)
		require.ErrorContains(t, err, "REQUEST-ID")
		require.ErrorContains(t, err, `list objects "dir/" in bucket "bucket"`)
	}
}

// TestServerThatQuotesSecrets has a server that puts into its errors all that it
// was sent.
func TestServerThatQuotesSecrets(t *testing.T) {
	const secret = "a-secret-key"
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		quoted, _ := json.Marshal(r.Header)
		_, _ = fmt.Fprintf(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>%s %s</Message></Error>", secret, quoted)
	})
	for op, err := range everyCall(t.Context(), openAt(t, address, nil), "bucket") {
		require.NotContains(t, err.Error(), secret, op)
		require.NotContains(t, fmt.Sprintf("%+v", err), secret, op)
	}
}

func TestHeadersThatProxiesAdd(t *testing.T) {
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	store := behind.open(t, bucket, nil)
	mustPut(t, store, bucket, "key", []byte("content"))
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&headerWriter{ResponseWriter: w}, r)
	})
	require.Equal(t, "content", string(readAll(t.Context(), t, store, bucket, "key")))
	there, err := store.ObjectExists(t.Context(), bucket, "key")
	require.NoError(t, err)
	require.True(t, there)
}

// headerWriter adds what minio-go stumbles over.
type headerWriter struct{ http.ResponseWriter }

func (w *headerWriter) WriteHeader(status int) {
	w.Header().Set("Expires", "-1")
	w.Header().Set("Last-Modified", "yesterday")
	w.ResponseWriter.WriteHeader(status)
}
