package objectstore

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/waits"
	"github.com/stretchr/testify/require"
)

// TestPauses looks for objects at a clock that only moves while nothing but time is
// waited for: what passes on it is pauses, however long the requests take. Only
// before a request that is made again there is one.
func TestPauses(t *testing.T) {
	var failures, asked atomic.Int32
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // else it would stay behind with a timer of that clock
		asked.Add(1)
		switch {
		case failures.Add(-1) >= 0:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
		}
	})
	store := openAt(t, address, map[string]string{"maxRetries": "4"})
	store.client.FirstPause = 4 * time.Second
	look := func(failing int32) (paused time.Duration, requests int32, err error) {
		synctest.Test(t, func(t *testing.T) {
			failures.Store(failing)
			asked.Store(0)
			begun := time.Now()
			var exists bool
			exists, err = store.ObjectExists(t.Context(), "bucket", "missing")
			require.False(t, exists)
			paused, requests = time.Since(begun), asked.Load()
		})
		return paused, requests, err
	}

	paused, requests, err := look(0)
	require.NoError(t, err)
	require.LessOrEqual(t, requests, int32(2), "by HEAD, and by GET, whose answer has a reason")
	require.Zero(t, paused, "a missing key is seen at once")

	paused, requests, err = look(2) // pauses of 2 to 4 and of 4 to 8 seconds
	require.NoError(t, err)
	require.GreaterOrEqual(t, requests, int32(3))
	require.GreaterOrEqual(t, paused, 6*time.Second)
	require.Less(t, paused, 12*time.Second)

	store.client.Settings.MaxRetries = 0
	paused, requests, err = look(1)
	require.Error(t, err)
	require.Equal(t, int32(1), requests)
	require.Zero(t, paused, "no pause without a further attempt")
}

// stopping is a body that stops in the middle until it is let go on.
type stopping struct {
	io.Reader
	left int
	goOn <-chan struct{}
}

func (s *stopping) Read(p []byte) (int, error) {
	if s.left == 0 {
		<-s.goOn
		return s.Reader.Read(p)
	}
	n, err := s.Reader.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// TestUploadThatWaitsForMemory is behind one that holds all of it and stores nothing,
// since Velero stops in the middle of the body.
func TestUploadThatWaitsForMemory(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		body, err := io.ReadAll(r.Body)
		if err == nil {
			w.Header().Set("Etag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
		}
	})
	store := openAt(t, address, map[string]string{"uploadMemoryLimit": "5MiB"})
	synctest.Test(t, func(t *testing.T) {
		told := func() int {
			return strings.Count(everyLog.text(), `"Upload is waiting for 64KiB of memory: parts under way hold what uploadMemoryLimit (5MiB) allows" endsAfter=4h0m0s`)
		}
		before := told()
		goOn, stored := make(chan struct{}), make(chan error, 2)
		put := func(key string, body io.Reader) { stored <- store.PutObject(t.Context(), "bucket", key, body) }
		go put("first", &stopping{Reader: bytes.NewReader(content(2<<20, 1)), left: 3 << 19, goOn: goOn})
		synctest.Wait()
		go put("second", bytes.NewReader(content(1000, 2)))

		time.Sleep(waits.FirstNotice - time.Nanosecond)
		require.Equal(t, before, told())
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		require.Equal(t, before+1, told())
		require.Empty(t, stored)
		close(goOn)
		require.NoError(t, <-stored)
		require.NoError(t, <-stored)
	})
}
