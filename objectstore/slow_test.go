package objectstore

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/stretchr/testify/require"
)

// link is a TCP way to a real server with a bandwidth, which all connections
// share, in each direction.
type link struct {
	rate     atomic.Int64 // bytes in a second, 0 for none at all
	up, down lane
	ended    <-chan struct{}
}

// lane is one direction: who sends waits until those before are through.
type lane struct {
	sync.Mutex
	free time.Time
}

// pass waits until n bytes are through. Where the link is dead it waits for the
// link's end.
func (l *link) pass(n int, way *lane) {
	way.Lock()
	defer way.Unlock()
	for l.rate.Load() == 0 {
		select {
		case <-l.ended:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	if now := time.Now(); way.free.Before(now.Add(-100 * time.Millisecond)) {
		way.free = now
	}
	way.free = way.free.Add(time.Duration(n) * time.Second / time.Duration(l.rate.Load()))
	time.Sleep(time.Until(way.free))
}

// behindLink returns the server as seen over a link.
func behindLink(t testing.TB, s *server, rate int64) (*server, *link) {
	target, err := url.Parse(s.endpoint)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	l := &link{ended: t.Context().Done()}
	l.rate.Store(rate)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go l.serve(client, target.Host)
		}
	}()
	behind := *s
	behind.endpoint = "http://" + listener.Addr().String()
	return &behind, l
}

func (l *link) serve(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	// Else the kernel would take megabytes at once, as no long way does.
	_ = client.(*net.TCPConn).SetReadBuffer(64 << 10)
	_ = server.(*net.TCPConn).SetReadBuffer(64 << 10)
	go func() {
		l.pump(client, server, &l.down)
		client.Close()
	}()
	l.pump(server, client, &l.up)
}

// pump moves bytes at the link's rate, in small pieces.
func (l *link) pump(to io.Writer, from io.Reader, way *lane) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf[:max(1, min(int64(len(buf)), l.rate.Load()/20))])
		l.pass(n, way)
		if _, failed := to.Write(buf[:n]); errors.Join(err, failed) != nil {
			return
		}
	}
}

// TestSlowLink moves objects over a way that takes several times the longest
// stall that is allowed: slow is not stalled.
func TestSlowLink(t *testing.T) {
	const stall = 3 * time.Second
	real := startVersity(t)
	for _, c := range []struct {
		name string
		rate int64
		size int
	}{
		{"one request", 256 << 10, 2500 << 10},
		{"parts", 2 << 20, 4 * wirePart},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			behind, l := behindLink(t, real, c.rate)
			bucket := real.bucket(t)
			config := map[string]string{"partSize": "5MiB", "requestTimeout": stall.String(), "stallTimeout": stall.String(), "maxRetries": "0", "retryTimeout": "10s", "uploadConcurrency": "2"}
			f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, config)}
			data := content(c.size, 1)
			begin := time.Now()
			f.put(t, "key", data)
			require.Greater(t, time.Since(begin), 3*stall)
			begin = time.Now()
			f.requireWhole(t, "key", data)
			require.Greater(t, time.Since(begin), 3*stall)
			f.requireStalls(t, l, data, stall)
		})
	}
}

// requireStalls lets nothing through in the middle of a download, which then ends
// within its bound. Of an upload the wire's own tests show it: there the kernel's
// share can be had in a moment.
func (f *fixture) requireStalls(t *testing.T, l *link, data []byte, stall time.Duration) {
	body := mustGet(t, f, "key")
	_, err := io.ReadFull(body, make([]byte, len(data)/4))
	require.NoError(t, err)
	l.rate.Store(0)
	within(t, 4*stall, func() {
		_, err = io.ReadAll(body)
		require.Equal(t, s3err.Timeout, KindOf(err), "%v", err)
		require.ErrorContains(t, err, "no progress for 3s")
	})
	body.Close()
}
