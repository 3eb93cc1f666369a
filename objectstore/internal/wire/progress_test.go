package wire

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// TestStalledUpload has a server that takes a connection and reads nothing. A body
// that the kernel takes whole is then as stalled as one that it does not.
func TestStalledUpload(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	for name, c := range map[string]struct {
		size   int
		limits Limits
		want   string
		raise  string
	}{
		"in the kernel": {64 << 10, Limits{Answer: 3 * time.Second, Stall: time.Minute}, "no progress for 3.5s while waiting for the storage's answer", "requestTimeout"},
		"before it":     {64 << 20, Limits{Answer: time.Minute, Stall: 3 * time.Second}, "no progress for 3s while sending the body: the storage takes no more data", "stallTimeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, told := logrustest.NewNullLogger()
			way := newProgress(&account.Settings{}, c.limits, log)
			way.slowest, way.notice = 128<<10, 100*time.Millisecond
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+listener.Addr().String(), bytes.NewReader(make([]byte, c.size)))
			require.NoError(t, err)
			resp, err := way.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			require.Equal(t, s3err.Timeout, s3err.KindOf(err), "%v", err)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, leaving(err), "; look at the storage and at proxies before it; if they only need longer, raise "+c.raise)
			require.NotNil(t, told.LastEntry(), "the wait is told of before it ends")
			_, step, _ := strings.Cut(c.want, " while ")
			require.Equal(t, "S3 request is waiting: "+step, told.LastEntry().Message)
		})
	}
}

// leaving is the error as it leaves the store.
func leaving(err error) error {
	log, _ := logrustest.NewNullLogger()
	return (&s3err.Reporter{Secrets: &s3err.Secrets{}, Log: log}).Failed(s3err.OpPut, "bucket", "key", err)
}

// pipes is a listener whose connections are in memory, where a wait for bytes is
// one for time.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, open := <-p
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p <- server
	return client, nil
}

// TestStalledDownload has a server that stops in the middle of an object, after a
// reader who takes his time.
func TestStalledDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := make(pipes)
		defer close(listener)
		go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "2000")
			_, _ = w.Write(make([]byte, 1000))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		log, told := logrustest.NewNullLogger()
		way := newProgress(&account.Settings{}, Limits{Answer: time.Minute, Stall: 2 * time.Minute}, log)
		way.next = &http.Transport{DialContext: listener.dial, DisableKeepAlives: true}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://storage/bucket/key", nil)
		require.NoError(t, err)
		resp, err := way.RoundTrip(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		_, err = io.ReadFull(resp.Body, make([]byte, 1000))
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.Empty(t, told.AllEntries(), "it is the reader who is slow")

		begun := time.Now()
		_, err = io.ReadAll(resp.Body)
		require.Equal(t, s3err.Timeout, s3err.KindOf(err), "%v", err)
		require.ErrorContains(t, err, "no progress for 2m0s while reading the storage's answer")
		require.Equal(t, 2*time.Minute, time.Since(begun))
		var waited []any
		for _, e := range told.AllEntries() {
			require.Equal(t, "S3 request is waiting: reading the storage's answer", e.Message)
			require.Equal(t, "/bucket/key", e.Data["path"])
			require.Equal(t, "2m0s", e.Data["endsAfter"])
			waited = append(waited, e.Data["waitedFor"])
		}
		require.Equal(t, []any{"15s", "1m15s"}, waited)
	})
}
