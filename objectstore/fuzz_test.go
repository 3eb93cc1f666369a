package objectstore

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzDownload lets a server break off where it likes and lie about ranges: what
// is read is the object whole, or there is an error.
func FuzzDownload(f *testing.F) {
	f.Add(1000, 10, 500, 0, 0)
	f.Add(1000, 0, 0, 0, 0)
	f.Add(5000, 4999, 1, 1, 0)
	f.Add(70000, 65536, 3, 0, 1)
	f.Add(0, 0, 0, 0, 0)
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		f.Add(random.IntN(100_000), random.IntN(100_000), random.IntN(100_000), random.IntN(4)/3, random.IntN(4)/3)
	}
	f.Fuzz(func(t *testing.T, size, cut1, cut2, shift, grow int) {
		size = bound(size, 100_000)
		object := content(size, 7)
		cuts := []int{bound(cut1, size+1), bound(cut2, size+1)}
		store := openAt(t, rangeServer(t, object, cuts, bound(shift, 3), bound(grow, 3)), map[string]string{"maxRetries": "3"})
		store.client.FirstPause = time.Microsecond * 2
		body, err := store.GetObject(t.Context(), "bucket", "key")
		if err != nil {
			return
		}
		defer body.Close()
		got, err := io.ReadAll(body)
		if err == nil {
			require.Equal(t, len(object), len(got))
			require.Equal(t, object, got)
		}
	})
}

func bound(n, limit int) int {
	if n < 0 {
		n = -(n + 1)
	}
	return n % max(limit, 1)
}

// rangeServer serves object. The first answers are cut; ranged ones may be
// shifted, or claim another size.
func rangeServer(t testing.TB, object []byte, cuts []int, shift, grow int) string {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := int(calls.Add(1)) - 1
		from, end, total := 0, len(object), len(object)
		w.Header().Set("Etag", `"etag"`)
		if start, ranged := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ranged {
			from, _ = strconv.Atoi(strings.TrimSuffix(start, "-"))
			from, total = min(from+shift, end), total+grow
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, end-1, total))
		}
		w.Header().Set("Content-Length", strconv.Itoa(end-from))
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusPartialContent)
		}
		if call < len(cuts) && cuts[call] < end-from {
			_, _ = w.Write(object[from : from+cuts[call]])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(object[from:end])
	}))
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	return server.URL
}
