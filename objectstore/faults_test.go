package objectstore

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

// wireConfig makes waits short and parts small.
var wireConfig = map[string]string{"partSize": "5MiB", "requestTimeout": "1s", "stallTimeout": "1s", "maxRetries": "4"}

const wirePart = 5 << 20

// TestFaults breaks the wire between the store and a real server. Whatever
// happens, the data is whole or an error says what happened, and no part stays
// behind.
func TestFaults(t *testing.T) {
	real := startVersity(t)
	for _, c := range []struct {
		name string
		run  func(t *testing.T, f *fixture, p *faultProxy)
	}{
		{"a burst of refusals is sat out", faultBurst},
		{"a server that goes on failing is an error", faultFailing},
		{"an upload survives broken connections", faultUploadReset},
		{"a lost answer to a single upload is asked for again", faultLostPut},
		{"a lost answer to Create touches no other upload", faultLostCreate},
		{"a lost answer to Complete is looked up", faultLostComplete},
		{"a Complete that never arrived is repeated", faultDroppedComplete},
		{"a Complete that failed and left the object out is an error", faultFailedComplete},
		{"a download survives broken connections", faultDownloadCut},
		{"a download survives a stall", faultDownloadStall},
		{"an object that changes in mid-download is an error", faultDownloadChanged},
		{"an object that goes in mid-download is an error", faultDownloadGone},
		{"ranges that are ignored or wrong are an error", faultRanges},
		{"damaged content is an error", faultDamaged},
		{"a listing that breaks off is completed", faultListing},
		{"a listing that goes in a circle is an error", faultCircle},
		{"a server that never answers is an error in time", faultHang},
		{"a server that knows only the first listing call is asked so", faultListV1},
		{"a demanded Content-MD5 is sent", faultNeedsMD5},
		{"expired credentials are fetched again", faultExpired},
		{"a proxy that is starting is sat out", faultStarting},
		{"an upload that may not be looked at names the permission", faultNoLook},
		{"parts that cannot be removed are named", faultNoAbort},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			behind, proxy := behindProxy(t, real)
			bucket := real.bucket(t)
			f := &fixture{server: behind, bucket: bucket, more: wireConfig, Store: behind.open(t, bucket, wireConfig)}
			f.client.FirstPause = 20 * time.Millisecond
			c.run(t, f, proxy)
		})
	}
}

// requireWhole reads key and compares it.
func (f *fixture) requireWhole(t *testing.T, key string, data []byte) {
	require.True(t, bytes.Equal(data, f.get(t, key)), "%q is not what was stored", key)
}

// requireClean demands that the bucket holds no multipart upload.
func (f *fixture) requireClean(t *testing.T) { require.Empty(t, f.server.uploads(t, f.bucket)) }

func faultBurst(t *testing.T, f *fixture, p *faultProxy) {
	data := content(2*wirePart+7, 1)
	for _, c := range []struct {
		status int
		code   string
	}{{503, "SlowDown"}, {500, "InternalError"}, {503, "ServiceUnavailable"}, {429, "TooManyRequests"}, {502, "Bad"}} {
		p.on(first(3, anyRequest, answer(c.status, c.code)))
		f.put(t, "burst", data)
		p.on(first(2, anyRequest, answer(c.status, c.code)))
		f.requireWhole(t, "burst", data)
		p.on(first(2, anyRequest, answer(c.status, c.code)))
		keys, err := f.ListObjects(t.Context(), f.bucket, "")
		require.NoError(t, err)
		require.Equal(t, []string{"burst"}, keys)
		p.on(first(2, anyRequest, answer(c.status, c.code)))
		require.True(t, f.exists(t, "burst"))
	}
	p.on(first(2, anyRequest, answer(503, "SlowDown")))
	require.NoError(t, f.DeleteObject(t.Context(), f.bucket, "burst"))
	f.requireClean(t)
}

func faultFailing(t *testing.T, f *fixture, p *faultProxy) {
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if isPart(r) {
			answer(500, "InternalError")(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	})
	err := f.PutObject(t.Context(), f.bucket, "key", bytes.NewReader(content(3*wirePart, 1)))
	require.Equal(t, s3err.Server, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "InternalError: because")
	require.ErrorContains(t, err, "REQUEST-ID")
	require.False(t, f.exists(t, "key"))
	f.requireClean(t)
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		answer(503, "SlowDown")(w, r, forward)
	})
	within(t, 30*time.Second, func() {
		for op, err := range everyCall(t.Context(), f.Store, f.bucket) {
			require.Equal(t, s3err.Throttled, KindOf(err), "%s: %v", op, err)
		}
	})
}

func faultUploadReset(t *testing.T, f *fixture, p *faultProxy) {
	small, large := content(300_000, 1), content(4*wirePart+1, 2)
	p.on(first(2, isMethod(http.MethodPut), reset))
	f.put(t, "small", small)
	p.on(first(4, isPart, reset))
	f.put(t, "large", large)
	p.on(nil)
	f.requireWhole(t, "small", small)
	f.requireWhole(t, "large", large)
	f.requireClean(t)
}

func faultLostPut(t *testing.T, f *fixture, p *faultProxy) {
	data := content(1000, 1)
	p.on(first(1, isMethod(http.MethodPut), lose))
	f.put(t, "key", data)
	require.Equal(t, 2, p.count("PUT"))
	f.requireWhole(t, "key", data)
}

func faultLostCreate(t *testing.T, f *fixture, p *faultProxy) {
	data, other := content(2*wirePart, 1), content(wirePart, 2)
	admin := f.server.admin
	id, err := admin.NewMultipartUpload(t.Context(), f.bucket, "key", minio.PutObjectOptions{})
	require.NoError(t, err)
	part, err := admin.PutObjectPart(t.Context(), f.bucket, "key", id, 1, bytes.NewReader(other), int64(len(other)), minio.PutObjectPartOptions{})
	require.NoError(t, err)
	p.on(first(2, isCreate, lose))
	f.put(t, "key", data)
	require.Equal(t, 3, p.count("POST /"+f.bucket+"/key?uploads"))
	require.Zero(t, p.count("DELETE"), "nobody knows whose an upload is")
	f.requireWhole(t, "key", data)
	_, err = admin.CompleteMultipartUpload(t.Context(), f.bucket, "key", id, []minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, minio.PutObjectOptions{})
	require.NoError(t, err, "another writer's upload was removed")
	f.requireWhole(t, "key", other)
}

func faultLostComplete(t *testing.T, f *fixture, p *faultProxy) {
	for _, size := range []int{2 * wirePart, 2*wirePart + 1} {
		data := content(size, uint64(size))
		f.put(t, "key", content(size, 9)) // one of the very size is there already
		p.on(first(1, isComplete, lose))
		f.put(t, "key", data)
		require.Equal(t, 1, p.count("POST /"+f.bucket+"/key?uploadId"))
		f.requireWhole(t, "key", data)
	}
	f.requireClean(t)
}

func faultDroppedComplete(t *testing.T, f *fixture, p *faultProxy) {
	data := content(2*wirePart, 1)
	f.put(t, "key", content(2*wirePart, 9))
	p.on(first(2, isComplete, reset))
	f.put(t, "key", data)
	f.requireWhole(t, "key", data)
	f.requireClean(t)
}

func faultFailedComplete(t *testing.T, f *fixture, p *faultProxy) {
	// The upload vanishes as it is completed, and an older object of the very
	// size is still there.
	older := content(2*wirePart, 9)
	f.put(t, "key", older)
	p.on(first(1, isComplete, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		r.Method, r.Body, r.ContentLength = http.MethodDelete, http.NoBody, 0
		r.Header = http.Header{}
		require.NoError(t, f.server.admin.AbortMultipartUpload(t.Context(), f.bucket, "key", r.URL.Query().Get("uploadId")))
		panic(http.ErrAbortHandler)
	}))
	err := f.PutObject(t.Context(), f.bucket, "key", bytes.NewReader(content(2*wirePart, 1)))
	require.Equal(t, s3err.NotConfirmed, KindOf(err), "%v", err)
	f.requireWhole(t, "key", older)
}

func faultDownloadCut(t *testing.T, f *fixture, p *faultProxy) {
	data := content(3*wirePart, 1)
	f.put(t, "key", data)
	for _, after := range []int{1, 1000, 4_000_000} {
		p.on(first(3, isMethod(http.MethodGet), cut(after)))
		f.requireWhole(t, "key", data)
		require.Equal(t, 4, p.count("GET"))
	}
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) { cut(wirePart/4)(w, r, forward) })
	f.requireWhole(t, "key", data)
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Header.Get("Range") != "" {
			reset(w, r, forward)
		}
		cut(1000)(w, r, forward)
	})
	_, err := io.ReadAll(mustGet(t, f, "key"))
	require.Equal(t, s3err.Unreachable, KindOf(err), "%v", err)
	require.ErrorContains(t, err, fmt.Sprintf("after 1000 of %d bytes", len(data)))
}

func mustGet(t *testing.T, f *fixture, key string) io.ReadCloser {
	body, err := f.GetObject(t.Context(), f.bucket, key)
	require.NoError(t, err)
	t.Cleanup(func() { body.Close() })
	return body
}

func faultDownloadStall(t *testing.T, f *fixture, p *faultProxy) {
	data := content(wirePart, 1)
	f.put(t, "key", data)
	p.on(first(1, isMethod(http.MethodGet), stallAfter(1_000_000)))
	within(t, 10*time.Second, func() { f.requireWhole(t, "key", data) })
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) { stallAfter(1)(w, r, forward) })
	within(t, 20*time.Second, func() {
		body := mustGet(t, f, "key")
		_, err := io.ReadFull(body, make([]byte, 1))
		require.NoError(t, err)
		p.on(hang)
		_, err = io.ReadAll(body)
		require.Equal(t, s3err.Timeout, KindOf(err), "%v", err)
		require.ErrorContains(t, err, "no progress for 1s")
	})
}

func faultDownloadChanged(t *testing.T, f *fixture, p *faultProxy) {
	f.put(t, "key", content(wirePart, 1))
	p.on(first(1, isMethod(http.MethodGet), cut(1000)))
	body := mustGet(t, f, "key")
	_, err := io.ReadFull(body, make([]byte, 1000))
	require.NoError(t, err)
	f.put(t, "key", content(wirePart, 2))
	_, err = io.ReadAll(body)
	require.Equal(t, s3err.Changed, KindOf(err), "%v", err)
}

func faultDownloadGone(t *testing.T, f *fixture, p *faultProxy) {
	f.put(t, "key", content(wirePart, 1))
	p.on(first(1, isMethod(http.MethodGet), cut(1000)))
	body := mustGet(t, f, "key")
	_, err := io.ReadFull(body, make([]byte, 1000))
	require.NoError(t, err)
	require.NoError(t, f.DeleteObject(t.Context(), f.bucket, "key"))
	_, err = io.ReadAll(body)
	require.Contains(t, []Kind{s3err.NotFound, s3err.Changed}, KindOf(err), "%v", err)
}

func faultRanges(t *testing.T, f *fixture, p *faultProxy) {
	f.put(t, "key", content(wirePart, 1))
	for name, change := range map[string]func(*http.Request){
		"ignored": func(r *http.Request) { r.Header.Set("X-Ignore-Range", "yes") },
		"shifted": func(r *http.Request) { r.Header.Set("X-Shift-Range", "yes") },
	} {
		cutOnce := first(1, isMethod(http.MethodGet), cut(1000))
		p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			if r.Header.Get("Range") == "" {
				cutOnce(w, r, forward)
				return
			}
			change(r)
			forward.ServeHTTP(&rangeLiar{ResponseWriter: w, ignore: r.Header.Get("X-Ignore-Range") != ""}, r)
		})
		_, err := io.ReadAll(mustGet(t, f, "key"))
		require.Contains(t, []Kind{s3err.Unsupported, s3err.Changed}, KindOf(err), "%s: %v", name, err)
	}
}

// rangeLiar claims another range than the server gave, or none.
type rangeLiar struct {
	http.ResponseWriter
	ignore bool
}

func (w *rangeLiar) WriteHeader(status int) {
	w.Header().Set("Content-Range", "bytes 0-10/11")
	if w.ignore {
		w.Header().Del("Content-Range")
		status = http.StatusOK
	}
	w.ResponseWriter.WriteHeader(status)
}

func faultDamaged(t *testing.T, f *fixture, p *faultProxy) {
	f.put(t, "ours", content(100_000, 1))
	foreign := content(50_000, 1)
	_, err := f.server.admin.PutObject(t.Context(), f.bucket, "foreign", bytes.NewReader(foreign), int64(len(foreign)), "", "", minio.PutObjectOptions{})
	require.NoError(t, err)
	f.requireWhole(t, "foreign", foreign)
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&damager{ResponseWriter: w}, r)
	})
	for _, key := range []string{"ours", "foreign"} {
		_, err := io.ReadAll(mustGet(t, f, key))
		require.Equal(t, s3err.Corrupt, KindOf(err), "%v", err)
	}
}

// damager turns one bit.
type damager struct {
	http.ResponseWriter
	done bool
}

func (w *damager) Write(p []byte) (int, error) {
	if !w.done && len(p) > 0 {
		p = bytes.Clone(p)
		p[len(p)/2] ^= 1
		w.done = true
	}
	return w.ResponseWriter.Write(p)
}

func faultListing(t *testing.T, f *fixture, p *faultProxy) {
	for i := range 30 {
		f.put(t, fmt.Sprintf("dir/%02d/key", i), []byte("x"))
	}
	p.on(first(3, isMethod(http.MethodGet), cut(1500)))
	keys, err := f.ListObjects(t.Context(), f.bucket, "")
	require.NoError(t, err)
	require.Len(t, keys, 30)
	p.on(first(3, isMethod(http.MethodGet), cut(700)))
	prefixes, err := f.ListCommonPrefixes(t.Context(), f.bucket, "dir/", "/")
	require.NoError(t, err)
	require.Len(t, prefixes, 30)
}

func faultCircle(t *testing.T, f *fixture, p *faultProxy) {
	page := `<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>` +
		`<Contents><Key>key</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>`
	p.on(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = io.WriteString(w, page) })
	within(t, 20*time.Second, func() {
		_, err := f.ListObjects(t.Context(), f.bucket, "")
		require.Equal(t, s3err.NotS3, KindOf(err), "%v", err)
	})
}

func faultHang(t *testing.T, f *fixture, p *faultProxy) {
	p.on(hang)
	within(t, time.Minute, func() {
		for op, err := range everyCall(t.Context(), f.Store, f.bucket) {
			require.Equal(t, s3err.Timeout, KindOf(err), "%s: %v", op, err)
			require.ErrorContains(t, err, "waiting for the storage's answer")
		}
	})
}

func faultListV1(t *testing.T, f *fixture, p *faultProxy) {
	for i := range 5 {
		f.put(t, fmt.Sprint("dir/", i), []byte("x"))
	}
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.URL.Query().Get("list-type") == "2" {
			answer(501, "NotImplemented")(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	})
	keys, err := f.ListObjects(t.Context(), f.bucket, "dir/")
	require.NoError(t, err)
	require.Len(t, keys, 5)
}

func faultNeedsMD5(t *testing.T, f *fixture, p *faultProxy) {
	missing := `<?xml version="1.0"?><Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters</Message></Error>`
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method == http.MethodPut && r.Header.Get("Content-Md5") == "" {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, missing)
			return
		}
		forward.ServeHTTP(w, r)
	})
	for i, size := range []int{1000, 3 * wirePart} {
		data := content(size, uint64(i))
		f.put(t, "key", data)
		f.requireWhole(t, "key", data)
		f.client.SendMD5.Store(false)
	}
}

func faultExpired(t *testing.T, f *fixture, p *faultProxy) {
	f.put(t, "key", []byte("x"))
	p.on(first(1, anyRequest, answer(400, "ExpiredToken")))
	require.Equal(t, "x", string(f.get(t, "key")))
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		answer(400, "ExpiredToken")(w, r, forward)
	})
	_, err := f.GetObject(t.Context(), f.bucket, "key")
	require.Equal(t, s3err.Expired, KindOf(err), "%v", err)
	require.Equal(t, 2, p.count("GET"))
}

func faultNoAbort(t *testing.T, f *fixture, p *faultProxy) {
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		switch {
		case isPart(r):
			answer(403, "AccessDenied")(w, r, forward)
		case r.Method == http.MethodDelete:
			answer(403, "AccessDenied")(w, r, forward)
		default:
			forward.ServeHTTP(w, r)
		}
	})
	err := f.PutObject(t.Context(), f.bucket, "key", bytes.NewReader(content(2*wirePart, 1)))
	require.Equal(t, s3err.Forbidden, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "could not be removed (upload ID ")
	require.ErrorContains(t, err, "s3:PutObject and s3:AbortMultipartUpload")
}

// faultStarting has the proxy answer for the storage, as ingress controllers do that
// have not read their routes yet.
func faultStarting(t *testing.T, f *fixture, p *faultProxy) {
	data := content(3*wirePart, 1)
	unknown := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.NotFound(w, r)
	}
	p.on(first(1, anyRequest, unknown))
	err := f.PutObject(t.Context(), f.bucket, "key", bytes.NewReader(data))
	require.Equal(t, s3err.NotS3, KindOf(err), "nothing has shown yet that it is a storage: %v", err)
	require.Equal(t, 1, p.count("POST"))

	p.on(first(3, isPart, unknown))
	f.put(t, "key", data)
	require.Greater(t, p.countWith("partNumber="), 3)
	p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		p.on(first(2, isMethod(http.MethodGet), unknown))
		cut(wirePart)(w, r, forward)
	})
	f.requireWhole(t, "key", data)
	require.Equal(t, 3, p.count("GET"))
}

// faultNoLook has credentials that may store and not read.
func faultNoLook(t *testing.T, f *fixture, p *faultProxy) {
	p.on(first(1, isMethod(http.MethodHead), answer(403, "AccessDenied")))
	err := f.PutObject(t.Context(), f.bucket, "key", bytes.NewReader(content(2*wirePart, 1)))
	require.Equal(t, s3err.Forbidden, KindOf(err), "%v", err)
	require.Equal(t, 1, p.count("HEAD"))
	require.ErrorContains(t, err, "the credentials need s3:GetObject")
	require.NotContains(t, err.Error(), "s3:PutObject")
}
