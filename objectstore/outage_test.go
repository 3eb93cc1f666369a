package objectstore

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// door is a TCP way to a server that can be shut: connections then break, and new
// ones are broken at once, as when a storage or a load balancer restarts.
type door struct {
	shut    atomic.Bool
	refused atomic.Int32

	mu   sync.Mutex
	open map[net.Conn]bool
}

func behindDoor(t testing.TB, s *server) (*server, *door) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	d := &door{open: map[net.Conn]bool{}}
	target := s.endpoint[len("http://"):]
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go d.pass(conn, target)
		}
	}()
	behind := *s
	behind.endpoint = "http://" + listener.Addr().String()
	return &behind, d
}

func (d *door) pass(conn net.Conn, target string) {
	defer conn.Close()
	if d.shut.Load() {
		d.refused.Add(1)
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	d.mu.Lock()
	d.open[conn] = true
	d.mu.Unlock()
	go func() {
		_, _ = io.Copy(conn, server)
		conn.Close()
	}()
	_, _ = io.Copy(server, conn)
	d.mu.Lock()
	delete(d.open, conn)
	d.mu.Unlock()
}

// shutFor shuts the door for so long.
func (d *door) shutFor(limit time.Duration) {
	d.shut.Store(true)
	d.mu.Lock()
	for conn := range d.open {
		conn.Close()
	}
	d.mu.Unlock()
	time.AfterFunc(limit, func() { d.shut.Store(false) })
}

// TestOutage takes the storage away for a minute, in the middle of the upload of
// an object of 1 GiB, and in the middle of a download, with the default settings.
func TestOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	t.Parallel()
	const outage = time.Minute
	real := startVersity(t)
	bucket := real.bucket(t)
	put := func(s *Store, key string, from io.Reader) []byte {
		sent := sha256.New()
		require.NoError(t, s.PutObject(t.Context(), bucket, key, io.TeeReader(from, sent)))
		return sent.Sum(nil)
	}
	get := func(s *Store, key string, through func(io.Reader) io.Reader) []byte {
		body, err := s.GetObject(t.Context(), bucket, key)
		require.NoError(t, err)
		defer body.Close()
		got := sha256.New()
		_, err = io.Copy(got, through(body))
		require.NoError(t, err)
		return got.Sum(nil)
	}
	direct := real.open(t, bucket, nil)
	whole := func(r io.Reader) io.Reader { return r }
	for name, move := range map[string]func(s *Store, away func()) (want, got []byte){
		"upload": func(s *Store, away func()) (want, got []byte) {
			const size = 1 << 30
			sent := put(s, "up", &interrupted{Reader: io.LimitReader(&noise{state: 1}, size), after: size / 2, act: away})
			require.Empty(t, real.uploads(t, bucket))
			return sent, get(direct, "up", whole)
		},
		"download": func(s *Store, away func()) (want, got []byte) {
			const size = 128 << 20
			sent := put(direct, "down", io.LimitReader(&noise{state: 2}, size))
			return sent, get(s, "down", func(r io.Reader) io.Reader { return &interrupted{Reader: r, after: size / 2, act: away} })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behind, d := behindDoor(t, real)
			begun := time.Now()
			want, got := move(behind.open(t, bucket, nil), func() { d.shutFor(outage) })
			require.Equal(t, want, got)
			require.Greater(t, time.Since(begun), outage)
			require.Greater(t, d.refused.Load(), int32(5), "nothing was tried in the meantime")
			require.Contains(t, everyLog.text(), "The storage goes on failing, trying again")
		})
	}
}

// TestManyAnswersFail has half of all requests refused.
func TestManyAnswersFail(t *testing.T) {
	t.Parallel()
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, map[string]string{"partSize": "5MiB"})}
	f.client.FirstPause = 10 * time.Millisecond
	var requests atomic.Int32
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		requests.Add(1)
		if rand.IntN(2) == 0 {
			answer(503, "SlowDown")(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	})
	data := content(4*wirePart, 1)
	f.put(t, "key", data)
	f.requireWhole(t, "key", data)
	require.Greater(t, requests.Load(), int32(8))
	proxy.on(nil)
	f.requireClean(t)
}

// TestDeadLocation finds a storage dead within the time that Velero can wait.
func TestDeadLocation(t *testing.T) {
	t.Parallel()
	s := &server{endpoint: "http://" + freeAddress(t), access: "ACCESSKEY", secret: "a-secret-key"}
	store := s.open(t, "bucket", nil)
	for name, call := range map[string]func() error{
		"list":   func() error { _, err := store.ListCommonPrefixes(t.Context(), "bucket", "", "/"); return err },
		"exists": func() error { _, err := store.ObjectExists(t.Context(), "bucket", "key"); return err },
		"delete": func() error { return store.DeleteObject(t.Context(), "bucket", "key") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			err := call()
			require.Equal(t, s3err.Unreachable, KindOf(err), "%v", err)
			require.ErrorContains(t, err, "tried ")
			require.Less(t, time.Since(begun), 35*time.Second)
			require.Greater(t, time.Since(begun), 15*time.Second)
		})
	}
}
