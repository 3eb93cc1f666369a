package objectstore

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// shown changes the headers of an object before the store sees them.
type shown struct {
	http.ResponseWriter
	change func(http.Header)
}

func (w *shown) WriteHeader(status int) {
	w.change(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

// unknownETag is a storage whose ETags have a form of their own.
func unknownETag(h http.Header) {
	if etag := h.Get("Etag"); etag != "" {
		h.Set("Etag", `"etag:`+strings.Trim(etag, `"`)[:8]+`"`)
	}
}

// noMetadata is a storage, or a proxy, that does not show an object's metadata.
func noMetadata(h http.Header) {
	h.Del("X-Amz-Meta-" + client.TokenName)
	h.Del("X-Amz-Meta-" + client.CRCName)
}

func both(a, b func(http.Header)) func(http.Header) {
	return func(h http.Header) { a(h); b(h) }
}

// TestNamesOfMetadata has a storage before Azure, whose names of metadata have no hyphen.
func TestNamesOfMetadata(t *testing.T) {
	behind, proxy := behindProxy(t, startVersity(t))
	bucket := behind.bucket(t)
	f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
	f.client.FirstPause = 5 * time.Millisecond
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		for name := range r.Header {
			if metadata, found := strings.CutPrefix(name, "X-Amz-Meta-"); found && strings.Contains(metadata, "-") {
				answer(500, "InternalError")(w, r, forward)
				return
			}
		}
		forward.ServeHTTP(w, r)
	})
	for _, size := range []int{1000, 2 * wirePart} {
		data := content(size, 1)
		f.put(t, "key", data)
		f.requireWhole(t, "key", data)
		info, err := f.client.Head(t.Context(), client.Brief, bucket, "key")
		require.NoError(t, err)
		require.NotEmpty(t, info.UserMetadata[client.TokenName])
		_, _, own := client.KeptCRC(info)
		require.Equal(t, size == 1000, own)
	}
}

// vanish removes the upload where it is to be completed, and loses the answer.
func vanish(t *testing.T, f *fixture) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(http.ResponseWriter, *http.Request, http.Handler) {
		uploads, err := f.server.admin.ListMultipartUploads(t.Context(), f.bucket, "", "", "", "", 10)
		require.NoError(t, err)
		require.Len(t, uploads.Uploads, 1)
		require.NoError(t, f.server.admin.AbortMultipartUpload(t.Context(), f.bucket, "key", uploads.Uploads[0].UploadID))
		panic(http.ErrAbortHandler)
	}
}

// TestLostComplete loses the answer to Complete, with an older object of the very
// size under the key: what is there is told by the upload's token, and by the ETag
// where that is known. A doubt is an error.
func TestLostComplete(t *testing.T) {
	real := startVersity(t)
	nothing := func(http.Header) {}
	for _, c := range []struct {
		name   string
		change func(http.Header)
		done   bool // whether the storage completed the upload
		want   s3err.Kind
	}{
		{"done", nothing, true, ""},
		{"done, no metadata", noMetadata, true, ""},
		{"done, ETag of unknown form", unknownETag, true, ""},
		{"done, nothing is shown", both(unknownETag, noMetadata), true, s3err.NotConfirmed},
		{"gone", nothing, false, s3err.NotConfirmed},
		{"gone, no metadata", noMetadata, false, s3err.NotConfirmed},
		{"gone, ETag of unknown form", unknownETag, false, s3err.NotConfirmed},
		{"gone, nothing is shown", both(unknownETag, noMetadata), false, s3err.NotConfirmed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			behind, proxy := behindProxy(t, real)
			bucket := real.bucket(t)
			f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
			f.client.FirstPause, f.uploader.ProofTime = 5*time.Millisecond, 100*time.Millisecond
			former, data := content(2*wirePart, 9), content(2*wirePart, 1)
			f.put(t, "key", former)
			lost := lose
			if !c.done {
				lost = vanish(t, f)
			}
			fault := first(1, isComplete, lost)
			proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				if r.Method == http.MethodHead {
					w = &shown{w, c.change}
				}
				fault(w, r, forward)
			})
			err := f.PutObject(t.Context(), bucket, "key", bytes.NewReader(data))
			require.Equal(t, c.want, KindOf(err), "%v", err)
			require.Equal(t, 1, proxy.count("POST /"+bucket+"/key?uploadId"))
			proxy.on(nil)
			if c.done {
				f.requireWhole(t, "key", data)
			} else {
				f.requireWhole(t, "key", former)
			}
		})
	}
}

// TestSmallUploadProof has a storage whose ETag tells nothing. An answer with the checksum
// that was sent proves that the object is stored; any other is followed by a look at it.
func TestSmallUploadProof(t *testing.T) {
	real := startVersity(t)
	const sum = "X-Amz-Checksum-Crc32c"
	for _, c := range []struct {
		name   string
		change func(http.Header)
		looks  int
	}{
		{"the checksum", func(h http.Header) { require.NotEmpty(t, h.Get(sum)) }, 0},
		{"no checksum", func(h http.Header) { h.Del(sum) }, 1},
		{"another checksum", func(h http.Header) { h.Set(sum, "AAAAAA==") }, 1},
		{"an empty answer", func(h http.Header) { h.Del(sum); h.Del("Etag") }, 1},
	} {
		behind, proxy := behindProxy(t, real)
		bucket := real.bucket(t)
		store := behind.open(t, bucket, map[string]string{"checksumAlgorithm": "CRC32C"})
		proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			if r.Method == http.MethodPut {
				w = &shown{w, both(unknownETag, c.change)}
			}
			forward.ServeHTTP(w, r)
		})
		data := content(70<<10, 1)
		mustPut(t, store, bucket, "key", data)
		require.Equal(t, c.looks, proxy.count("HEAD"), c.name)
		require.True(t, bytes.Equal(data, readAll(t.Context(), t, store, bucket, "key")), c.name)
	}
}

// TestLateSight has a storage that shows what was there before for a while.
func TestLateSight(t *testing.T) {
	real := startVersity(t)
	for name, late := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"nothing": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusNotFound) },
		"the former object": func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			forward.ServeHTTP(&shown{w, func(h http.Header) {
				h.Set("X-Amz-Meta-"+client.TokenName, "of another upload")
				h.Set("Etag", `"0123456789abcdef0123456789abcdef-2"`)
			}}, r)
		},
	} {
		behind, proxy := behindProxy(t, real)
		bucket := real.bucket(t)
		f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
		f.client.FirstPause = 5 * time.Millisecond
		data := content(2*wirePart, 1)
		proxy.on(first(3, isMethod(http.MethodHead), late))
		require.NoError(t, f.PutObject(t.Context(), bucket, "key", bytes.NewReader(data)), name)
		require.Equal(t, 4, proxy.count("HEAD"))
		proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			if r.Method == http.MethodHead {
				late(w, r, forward)
				return
			}
			forward.ServeHTTP(w, r)
		})
		f.uploader.ProofTime = 200 * time.Millisecond
		err := f.PutObject(t.Context(), bucket, "key", bytes.NewReader(data))
		require.Equal(t, s3err.NotConfirmed, KindOf(err), "%s: %v", name, err)
	}
}

// TestDoubtfulComplete has a storage that fails while it puts the parts together:
// it may still do it, so the upload is left alone and named.
func TestDoubtfulComplete(t *testing.T) {
	real := startVersity(t)
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"it fails": answer(500, "InternalError"), "it is busy": answer(503, "SlowDown"), "connections break": reset, "a page": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>please wait</html>")
		},
	} {
		behind, proxy := behindProxy(t, real)
		bucket := real.bucket(t)
		f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
		f.client.FirstPause, f.uploader.ProofTime = 5*time.Millisecond, 100*time.Millisecond
		proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			if isComplete(r) {
				fault(w, r, forward)
				return
			}
			forward.ServeHTTP(w, r)
		})
		err := f.PutObject(t.Context(), bucket, "key", bytes.NewReader(content(2*wirePart, 1)))
		require.Error(t, err, name)
		require.Zero(t, proxy.count("DELETE"), "%s: %v", name, err)
		uploads, listErr := real.admin.ListMultipartUploads(t.Context(), bucket, "", "", "", "", 10)
		require.NoError(t, listErr)
		require.Len(t, uploads.Uploads, 1)
		require.ErrorContains(t, err, "left alone (upload ID "+uploads.Uploads[0].UploadID+")")
	}
}

// TestRefusedAfterLostComplete has a storage that goes on putting the parts together
// when a proxy has given up waiting, and refuses what it is asked then: the object is
// there.
func TestRefusedAfterLostComplete(t *testing.T) {
	real := startVersity(t)
	timedOut := answer(504, "GatewayTimeout")
	for name, c := range map[string]struct {
		done int // the Complete that the storage carries out
		then func(http.ResponseWriter, *http.Request, http.Handler)
		list func(http.ResponseWriter, *http.Request, http.Handler) // nil for what is true
	}{
		"the next Complete finds no upload":      {2, answer(404, "NoSuchUpload"), nil},
		"the next Complete finds no parts":       {2, answer(400, "InvalidPart"), nil},
		"the parts must not be listed":           {1, timedOut, answer(403, "AccessDenied")},
		"the parts cannot be listed":             {1, timedOut, answer(501, "NotImplemented")},
		"the last Complete is not answered":      {5, timedOut, nil},
		"no Complete is answered, as is no List": {1, timedOut, answer(500, "InternalError")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behind, proxy := behindProxy(t, real)
			bucket := real.bucket(t)
			f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
			f.client.FirstPause = 5 * time.Millisecond
			f.put(t, "key", content(2*wirePart, 9))
			completes := 0
			proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				switch {
				case isComplete(r):
					if completes++; completes < c.done {
						timedOut(w, r, forward)
						return
					}
					forward.ServeHTTP(httptest.NewRecorder(), r)
					c.then(w, r, forward)
				case r.Method == http.MethodGet && r.URL.Query().Has("uploadId") && c.list != nil:
					c.list(w, r, forward)
				default:
					forward.ServeHTTP(w, r)
				}
			})
			data := content(2*wirePart, 1)
			f.put(t, "key", data)
			require.Equal(t, c.done, completes)
			f.requireWhole(t, "key", data)
		})
	}
}

// TestRefusedAfterLostPut loses the answer to a small upload, whose repetition is
// refused: whether it failed is told by what is there.
func TestRefusedAfterLostPut(t *testing.T) {
	real := startVersity(t)
	for name, c := range map[string]struct {
		fault, then func(http.ResponseWriter, *http.Request, http.Handler)
		want        s3err.Kind
	}{
		"stored, and must not be replaced": {lose, answer(403, "AccessDenied"), ""},
		"stored, and the storage is full":  {lose, answer(507, "XMinioStorageFull"), ""},
		"stored, and the storage fails":    {lose, answer(500, "InternalError"), ""},
		"not stored":                       {reset, answer(403, "AccessDenied"), s3err.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behind, proxy := behindProxy(t, real)
			bucket := real.bucket(t)
			f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
			f.client.FirstPause = 5 * time.Millisecond
			former, data := content(1000, 9), content(1000, 1)
			f.put(t, "key", former)
			fault := first(1, isMethod(http.MethodPut), c.fault)
			proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				if r.Method == http.MethodPut && proxy.count("PUT") > 1 {
					c.then(w, r, forward)
					return
				}
				fault(w, r, forward)
			})
			err := f.PutObject(t.Context(), bucket, "key", bytes.NewReader(data))
			require.Equal(t, c.want, KindOf(err), "%v", err)
			if err == nil {
				f.requireWhole(t, "key", data)
			} else {
				f.requireWhole(t, "key", former)
			}
		})
	}
}

// TestRefusedComplete has a storage that refuses the parts for good.
func TestRefusedComplete(t *testing.T) {
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if isComplete(r) {
			answer(400, "InvalidPart")(w, r, forward)
			return
		}
		forward.ServeHTTP(&shown{w, func(h http.Header) {}}, r)
	})
	err := f.PutObject(t.Context(), bucket, "key", bytes.NewReader(content(2*wirePart, 1)))
	require.ErrorContains(t, err, "InvalidPart")
	f.requireClean(t)
}

// answered200 answers 200 where S3 answers 204.
type answered200 struct{ http.ResponseWriter }

func (w answered200) WriteHeader(status int) {
	if status == http.StatusNoContent {
		status = http.StatusOK
	}
	w.ResponseWriter.WriteHeader(status)
}

// TestAbortAnswered200 aborts at a storage that answers 200.
func TestAbortAnswered200(t *testing.T) {
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(answered200{w}, r)
	})
	body := io.MultiReader(bytes.NewReader(content(2*wirePart, 1)), failing{})
	err := f.PutObject(t.Context(), bucket, "key", body)
	require.Equal(t, s3err.Body, KindOf(err), "%v", err)
	require.NotContains(t, err.Error(), "could not be removed")
	require.NotZero(t, proxy.count("DELETE"))
	f.requireClean(t)
	require.NoError(t, f.DeleteObject(t.Context(), bucket, "key"))
}

// TestLeftoverIsToldOnce has an upload that fails and cannot be removed.
func TestLeftoverIsToldOnce(t *testing.T) {
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, wireConfig)}
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if isPart(r) || r.Method == http.MethodDelete {
			answer(403, "AccessDenied")(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	})
	err := f.PutObject(t.Context(), bucket, "key", bytes.NewReader(content(2*wirePart, 1)))
	require.Equal(t, 1, strings.Count(err.Error(), "could not be removed"), "%v", err)
	require.Equal(t, 2, strings.Count(err.Error(), "AccessDenied"), "%v", err)
}
