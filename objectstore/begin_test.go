package objectstore

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// measuredBody tells how much of a body was read.
type measuredBody struct {
	io.Reader
	read atomic.Int64
}

func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// TestUploadBegins withholds the answer to the beginning of a multipart upload until
// as many parts are read as may be on their way.
func TestUploadBegins(t *testing.T) {
	real := startVersity(t)
	data := content(6*wirePart, 1)
	whole := func() io.Reader { return bytes.NewReader(data) }
	for _, c := range []struct {
		name    string
		body    io.Reader
		enough  int64 // bytes that are read before the answer
		refused bool
		want    func(t *testing.T, f *fixture, p *faultProxy, err error)
	}{
		{"stored", whole(), 4 * wirePart, false, func(t *testing.T, f *fixture, _ *faultProxy, err error) {
			require.NoError(t, err)
			f.requireWhole(t, "key", data)
		}},
		{"the body fails meanwhile", io.MultiReader(bytes.NewReader(data[:3*wirePart]), iotest.ErrReader(errors.New("the disk is broken"))), 3 * wirePart, false, func(t *testing.T, f *fixture, p *faultProxy, err error) {
			require.ErrorContains(t, err, "the disk is broken")
			require.Equal(t, 1, p.count("DELETE /"), "the upload is ended")
			f.requireClean(t)
		}},
		{"refused", whole(), 4 * wirePart, true, func(t *testing.T, f *fixture, p *faultProxy, err error) {
			require.Equal(t, s3err.Forbidden, KindOf(err), "%v", err)
			require.Zero(t, p.count("PUT /")+p.count("DELETE /"), "there is no upload to send parts to, or to end")
			f.requireClean(t)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			behind, proxy := behindProxy(t, real)
			bucket := real.bucket(t)
			f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, map[string]string{"partSize": "5MiB", "uploadConcurrency": "4"})}
			body := &measuredBody{Reader: c.body}
			var withheld atomic.Bool
			proxy.on(first(1, isCreate, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				for end := time.Now().Add(30 * time.Second); body.read.Load() < c.enough && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				withheld.Store(body.read.Load() >= c.enough)
				if c.refused {
					answer(http.StatusForbidden, "AccessDenied")(w, r, forward)
					return
				}
				forward.ServeHTTP(w, r)
			}))
			err := f.PutObject(t.Context(), bucket, "key", body)
			require.True(t, withheld.Load(), "%d bytes were read before the answer", body.read.Load())
			c.want(t, f, proxy, err)
		})
	}
}
