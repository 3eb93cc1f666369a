package objectstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/download"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// The geometry of the tests' ranges: an object of rangedSize has them from
// rangedHead on, four at once. rangedThird is the third.
const (
	rangedHead  = 64 << 10
	rangeSize   = 16 << 10
	rangedSize  = 300_000
	thirdFrom   = rangedHead + 2*rangeSize
	rangedThird = "bytes=98304-114687"
	afterThird  = "bytes=98304-299999" // what is asked for when the third failed
)

// smallRanges are for objects of the tests, over any way, with memory of their own.
func smallRanges() download.Ranges {
	return download.Ranges{Head: rangedHead, Size: rangeSize, AtOnce: 4, Late: time.Minute, Memory: semaphore.NewWeighted(4 * rangeSize)}
}

// alwaysInRanges are those of every download, also where the storage is near.
func alwaysInRanges() download.Ranges {
	r := download.DefaultRanges()
	r.LongWay, r.Late, r.Memory = 0, time.Minute, semaphore.NewWeighted(int64(r.AtOnce)*r.Size)
	return r
}

// rangeServer serves an object, and notes what is asked for. Where hits is true of
// what is in the header Range, the answer comes by fault.
type rangeServer struct {
	*object
	hits  func(asked string) bool
	fault way

	mu      sync.Mutex
	ranges  []string // that were asked for
	whole   int      // how often all of it was
	faults  int
	running int
}

func (s *rangeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hit := s.note(r)
	defer func() {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	}()
	if hit {
		s.fault(s.object, w, r)
		return
	}
	s.object.ServeHTTP(w, r)
}

func (s *rangeServer) note(r *http.Request) (hit bool) {
	asked := r.Header.Get("Range")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running++
	if asked == "" {
		if r.Method == http.MethodGet {
			s.whole++
		}
		return false
	}
	s.ranges = append(s.ranges, asked)
	if s.fault == nil || !s.hits(asked) {
		return false
	}
	s.faults++
	return true
}

func anyRange(string) bool { return true }

func theThird(asked string) bool { return asked == rangedThird }

func fromTheThird(asked string) bool {
	var first int
	_, _ = fmt.Sscanf(asked, "bytes=%d-", &first)
	return first >= thirdFrom
}

func (s *rangeServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ranges)
}

func (s *rangeServer) met() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// requireRest sees all requests end.
func (s *rangeServer) requireRest(t *testing.T) {
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.running == 0
	}, 10*time.Second, time.Millisecond, "requests are left behind")
}

// openRanges opens a location at the server that reads in the tests' ranges, and
// waits so long for an answer and for each of its bytes.
func openRanges(t testing.TB, s *rangeServer, limit time.Duration) *Store {
	store := openAt(t, serve(t, s.ServeHTTP), map[string]string{"maxRetries": "20", "requestTimeout": limit.String(), "stallTimeout": limit.String()})
	store.downloader.Ranges = smallRanges()
	return store
}

// partOf is the answer to a request for a range; change makes it another one.
func partOf(o *object, w http.ResponseWriter, r *http.Request, change func(h http.Header, body []byte) []byte) {
	var first, last int
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	h := w.Header()
	for name, values := range o.header {
		h[name] = slices.Clone(values)
	}
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(o.data)))
	h.Set("Content-Length", fmt.Sprint(last-first+1))
	body := change(h, bytes.Clone(o.data[first:last+1]))
	w.WriteHeader(http.StatusPartialContent)
	w.(http.Flusher).Flush()
	_, _ = w.Write(body)
}

// changed is a fault that changes the answer.
func changed(change func(h http.Header, body []byte) []byte) way {
	return func(o *object, w http.ResponseWriter, r *http.Request) { partOf(o, w, r, change) }
}

// header is a fault of one header.
func header(name, value string) way {
	return changed(func(h http.Header, body []byte) []byte {
		h.Set(name, value)
		return body
	})
}

// refuse is a fault that is an S3 error.
func refuse(status int, code string) way {
	return func(_ *object, w http.ResponseWriter, r *http.Request) { answer(status, code)(w, r, nil) }
}

// half gives half of a range and then does something else.
func half(then func(r *http.Request)) way {
	return func(o *object, w http.ResponseWriter, r *http.Request) {
		partOf(o, &halfWriter{w, func() { then(r) }}, r, func(_ http.Header, body []byte) []byte { return body })
	}
}

type halfWriter struct {
	http.ResponseWriter
	then func()
}

func (w *halfWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

func (w *halfWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:len(p)/2])
	w.Flush()
	w.then()
	return n, err
}

func breakOff(*http.Request) { panic(http.ErrAbortHandler) }

func untilGone(r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// rangeFaults are all that may be wrong with one answer to a request for a range.
var rangeFaults = map[string]way{
	"ends properly and is short": changed(func(h http.Header, body []byte) []byte {
		h.Del("Content-Length")
		return body[:len(body)/2]
	}),
	"is empty": changed(func(h http.Header, _ []byte) []byte {
		h.Set("Content-Length", "0")
		return nil
	}),
	"breaks off":  half(breakOff),
	"stalls":      half(untilGone),
	"never comes": func(_ *object, _ http.ResponseWriter, r *http.Request) { untilGone(r) },
	"goes on behind its end": changed(func(h http.Header, body []byte) []byte {
		h.Del("Content-Length")
		return append(body, 'x')
	}),
	"is another range":           header("Content-Range", "bytes 98305-114688/300000"),
	"is of an object that grew":  header("Content-Range", "bytes 98304-114687/300001"),
	"is not said to be a range":  changed(func(h http.Header, body []byte) []byte { h.Del("Content-Range"); return body }),
	"is of another object":       header("Etag", `"0123456789abcdef0123456789abcdef-9"`),
	"has no ETag":                changed(func(h http.Header, body []byte) []byte { h.Del("Etag"); return body }),
	"is encoded":                 header("Content-Encoding", "gzip"),
	"is the whole object":        func(o *object, w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); o.ServeHTTP(w, r) },
	"is refused: slow down":      refuse(503, "SlowDown"),
	"is refused: missing":        refuse(404, "NoSuchKey"),
	"is refused: not that range": refuse(416, "InvalidRange"),
	"is a page": func(_ *object, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>log in</html>")
	},
}

// TestRangeFaults has one range go wrong, in each way. What was proven before it is
// read, and the rest is asked for again.
func TestRangeFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range rangeFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &rangeServer{object: inParts(content(rangedSize, 3)), hits: theThird, fault: fault}
			limit := time.Minute
			if name == "stalls" || name == "never comes" {
				limit = 3 * time.Second
			}
			got, err := readKey(t.Context(), openRanges(t, s, limit))
			require.NoError(t, err)
			require.True(t, bytes.Equal(s.data, got), "%d bytes of %d", len(got), len(s.data))
			require.Equal(t, 1, s.met(), "%v", s.asked())
			require.Contains(t, s.asked(), afterThird)
			require.Equal(t, 1, s.whole)
		})
	}
}

// TestRangesThatStayWrong has every answer from the third range on wrong: what is
// before it is read, and then there is an error.
func TestRangesThatStayWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault way
		want  s3err.Kind
	}{
		"the object is another one": {header("Etag", `"0123456789abcdef0123456789abcdef-9"`), s3err.Changed},
		"it is missing":             {refuse(404, "NoSuchKey"), s3err.NotFound},
		"it is forbidden":           {refuse(403, "AccessDenied"), s3err.Forbidden},
		"ranges are ignored":        {rangeFaults["is the whole object"], s3err.Unsupported},
		"all breaks off at once":    {func(*object, http.ResponseWriter, *http.Request) { breakOff(nil) }, s3err.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &rangeServer{object: inParts(content(rangedSize, 3)), hits: fromTheThird, fault: c.fault}
			store := openRanges(t, s, time.Minute)
			store.client.FirstPause = time.Microsecond
			got, err := readKey(t.Context(), store)
			require.Equal(t, c.want, KindOf(err), "%v", err)
			require.True(t, bytes.Equal(s.data[:thirdFrom], got), "%d bytes", len(got))
			require.Contains(t, s.asked(), rangedThird)
			require.Contains(t, s.asked(), afterThird, "the rest was not asked for")
			require.NotZero(t, s.met())
		})
	}
}

// TestDamagedRange is found out by the checksum of the whole object.
func TestDamagedRange(t *testing.T) {
	t.Parallel()
	s := &rangeServer{object: ours(content(rangedSize, 3)), hits: theThird, fault: changed(func(_ http.Header, body []byte) []byte {
		body[99] ^= 1
		return body
	})}
	_, err := readKey(t.Context(), openRanges(t, s, time.Minute))
	require.Equal(t, s3err.Corrupt, KindOf(err), "%v", err)
	require.Equal(t, 1, s.met())
}

// TestRangesThatAreNoUse has a storage that gives no ranges beside the answer that
// is under way: that answer goes on, and nothing else is asked for.
func TestRangesThatAreNoUse(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]way{
		"they are ignored":            rangeFaults["is the whole object"],
		"one connection is too many":  rangeFaults["is refused: slow down"],
		"another connection is stuck": rangeFaults["never comes"],
		"they are of another object":  rangeFaults["is of another object"],
		"they stall":                  rangeFaults["stalls"],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &rangeServer{object: ours(content(rangedSize, 3)), hits: anyRange, fault: fault}
			store := openRanges(t, s, time.Minute)
			store.downloader.Ranges.Late = 100 * time.Millisecond
			got, err := readKey(t.Context(), store)
			require.NoError(t, err)
			require.True(t, bytes.Equal(s.data, got), "%d bytes of %d", len(got), len(s.data))
			require.Equal(t, 1, s.whole)
			require.NotContains(t, s.asked(), "bytes=65536-299999", "the answer that was under way was given up")
			s.requireRest(t)
			require.NotZero(t, s.met())
		})
	}
}

// TestFewConnections has a storage that refuses more than two requests at a time.
func TestFewConnections(t *testing.T) {
	t.Parallel()
	var now, refused atomic.Int32
	o := ours(content(rangedSize, 3))
	store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer now.Add(-1)
		if now.Add(1) > 2 {
			refused.Add(1)
			answer(503, "SlowDown")(w, r, nil)
			return
		}
		time.Sleep(time.Millisecond)
		o.ServeHTTP(w, r)
	}), map[string]string{"maxRetries": "100"})
	store.downloader.Ranges = smallRanges()
	got, err := readKey(t.Context(), store)
	require.NoError(t, err)
	require.True(t, bytes.Equal(o.data, got))
	require.NotZero(t, refused.Load())
}

// TestRangesSideBySide has a storage that answers for ranges only when as many are
// asked for as may be.
func TestRangesSideBySide(t *testing.T) {
	t.Parallel()
	var waiting sync.WaitGroup
	waiting.Add(4)
	var n atomic.Int32
	s := &rangeServer{object: ours(content(rangedSize, 3)), hits: anyRange, fault: func(o *object, w http.ResponseWriter, r *http.Request) {
		if n.Add(1) <= 4 {
			waiting.Done()
		}
		waiting.Wait()
		o.ServeHTTP(w, r)
	}}
	store := openRanges(t, s, time.Minute)
	got, err := readKey(t.Context(), store)
	require.NoError(t, err)
	require.True(t, bytes.Equal(s.data, got))
	var want []string
	for first := rangedHead; first < rangedSize; first += rangeSize {
		want = append(want, fmt.Sprintf("bytes=%d-%d", first, min(first+rangeSize, rangedSize)-1))
	}
	require.ElementsMatch(t, want, s.asked(), "each range is asked for once, and nothing else")
	require.Equal(t, 1, s.whole)
	require.True(t, store.downloader.Ranges.Memory.TryAcquire(4*rangeSize), "memory is kept after the end")
}

// TestObjectsWithoutRanges are read with one request as ever.
func TestObjectsWithoutRanges(t *testing.T) {
	t.Parallel()
	noETag := foreign(content(rangedSize, 3))
	noETag.header.Del("Etag")
	stored := foreign(content(rangedSize, 3))
	stored.header.Set("Content-Encoding", "gzip")
	for name, o := range map[string]*object{
		"empty": ours(nil), "small": ours(content(1000, 1)), "of one range": ours(content(rangedHead+rangeSize, 1)),
		"without an ETag": noETag, "stored with an encoding": stored,
	} {
		s := &rangeServer{object: o}
		got, err := readKey(t.Context(), openRanges(t, s, time.Minute))
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(o.data, got), name)
		require.Empty(t, s.asked(), name)
		require.Equal(t, 1, s.whole, name)
	}
}

// TestLongWay has an answer that takes as long to begin as one from afar.
func TestLongWay(t *testing.T) {
	t.Parallel()
	s := &rangeServer{object: ours(content(rangedSize, 3))}
	store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(2 * download.DefaultRanges().LongWay)
		s.ServeHTTP(w, r)
	}), nil)
	store.downloader.Ranges = smallRanges()
	store.downloader.Ranges.LongWay = download.DefaultRanges().LongWay
	got, err := readKey(t.Context(), store)
	require.NoError(t, err)
	require.True(t, bytes.Equal(s.data, got))
	require.NotEmpty(t, s.asked())
	store.downloader.Ranges.LongWay = time.Hour
	asked := len(s.asked())
	got, err = readKey(t.Context(), store)
	require.NoError(t, err)
	require.True(t, bytes.Equal(s.data, got))
	require.Len(t, s.asked(), asked, "a storage that is near was asked for ranges")
}

// TestSlowReaderOfRanges takes little: no more is asked for than may be in memory.
func TestSlowReaderOfRanges(t *testing.T) {
	t.Parallel()
	s := &rangeServer{object: ours(content(rangedSize, 3))}
	body, err := openRanges(t, s, time.Minute).GetObject(t.Context(), "bucket", "key")
	require.NoError(t, err)
	defer body.Close()
	taken, p := 0, make([]byte, 1000)
	for {
		n, err := body.Read(p)
		taken += n
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.True(t, bytes.Equal(s.data[taken-n:taken], p[:n]))
		past := max(0, taken-rangedHead)
		require.LessOrEqual(t, len(s.asked()), 4+past/rangeSize, "after %d bytes", taken)
	}
	require.Equal(t, rangedSize, taken)
	require.Greater(t, len(s.asked()), 4)
}

// TestRangesOfManyDownloads share the memory: those that get none are one stream.
func TestRangesOfManyDownloads(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	s := &rangeServer{object: ours(content(rangedSize, 3)), hits: anyRange, fault: func(o *object, w http.ResponseWriter, r *http.Request) {
		running := now.Add(1)
		for old := most.Load(); running > old && !most.CompareAndSwap(old, running); old = most.Load() {
		}
		time.Sleep(time.Millisecond)
		now.Add(-1) // before the answer, which ends the request for the reader
		o.ServeHTTP(w, r)
	}}
	store := openRanges(t, s, time.Minute)
	var all errgroup
	for range 40 {
		all.run(func() error {
			got, err := readKey(t.Context(), store)
			if err == nil && !bytes.Equal(s.data, got) {
				err = errDiffers
			}
			return err
		})
	}
	require.NoError(t, all.wait())
	require.LessOrEqual(t, most.Load(), int32(4))
	require.NotZero(t, s.met())
	require.True(t, store.downloader.Ranges.Memory.TryAcquire(4*rangeSize), "memory is kept")
}

// TestEndOfRanges closes a download, or cancels it, while its ranges are under way:
// all requests end, and their memory is free.
func TestEndOfRanges(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, cancel context.CancelFunc, body io.ReadCloser){
		"closed": func(t *testing.T, _ context.CancelFunc, body io.ReadCloser) {
			require.NoError(t, body.Close())
			_, err := body.Read(make([]byte, 1))
			require.Error(t, err)
		},
		"canceled": func(t *testing.T, cancel context.CancelFunc, body io.ReadCloser) {
			_, err := io.CopyN(io.Discard, body, rangedHead/2)
			require.NoError(t, err)
			time.AfterFunc(10*time.Millisecond, cancel)
			_, err = io.Copy(io.Discard, body)
			require.Equal(t, s3err.Canceled, KindOf(err), "%v", err)
			require.NoError(t, body.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &rangeServer{object: ours(content(rangedSize, 3)), hits: anyRange, fault: rangeFaults["never comes"]}
			store := openRanges(t, s, time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body, err := store.GetObject(ctx, "bucket", "key")
			require.NoError(t, err)
			for range 2 { // who reads on gets ranges
				_, err = io.CopyN(io.Discard, body, rangedHead/4)
				require.NoError(t, err)
			}
			require.Eventually(t, func() bool { return s.met() == 4 }, 10*time.Second, time.Millisecond)
			end(t, cancel, body)
			require.True(t, store.downloader.Ranges.Memory.TryAcquire(4*rangeSize), "memory is kept")
			s.requireRest(t)
			require.Equal(t, 4, s.met())
		})
	}
}

// TestRangesOverBrokenWire has answers of a real server break off in the middle:
// all to a request for a range, or those after the first ones.
func TestRangesOverBrokenWire(t *testing.T) {
	t.Parallel()
	real := startVersity(t)
	behind, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	f := &fixture{server: behind, bucket: bucket, Store: behind.open(t, bucket, map[string]string{"partSize": "5MiB", "maxRetries": "4"})}
	f.client.FirstPause = time.Millisecond
	f.downloader.Ranges = alwaysInRanges()
	data := content(24<<20, 1)
	f.put(t, "key", data)
	for _, good := range []int32{0, 3} {
		var ranges atomic.Int32
		proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			if r.Header.Get("Range") == "" || ranges.Add(1) <= good {
				forward.ServeHTTP(w, r)
				return
			}
			cut(1<<20)(w, r, forward)
		})
		f.requireWhole(t, "key", data)
		require.Greater(t, ranges.Load(), good, "nothing broke off")
	}
}

// TestRangesOfChangedObject replaces an object on a real server while it is read in
// ranges: never is the one mixed with the other.
func TestRangesOfChangedObject(t *testing.T) {
	t.Parallel()
	real := startVersity(t)
	bucket := real.bucket(t)
	s := real.open(t, bucket, map[string]string{"partSize": "5MiB"})
	s.downloader.Ranges = alwaysInRanges()
	s.downloader.Ranges.AtOnce = 2
	before := content(24<<20, 1)
	mustPut(t, s, bucket, "key", before)
	body, err := s.GetObject(t.Context(), bucket, "key")
	require.NoError(t, err)
	defer body.Close()
	head := make([]byte, 7<<20) // the head, and some of the first range
	_, err = io.ReadFull(body, head)
	require.NoError(t, err)
	mustPut(t, s, bucket, "key", content(24<<20, 2))
	rest, err := io.ReadAll(body)
	require.Equal(t, s3err.Changed, KindOf(err), "%v", err)
	require.True(t, bytes.HasPrefix(before, slices.Concat(head, rest)))
}
