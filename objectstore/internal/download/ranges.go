package download

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/semaphore"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/heap"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Ranges say when an object is read in ranges, several at once. On a long way one
// connection gives little: it waits for the word that its bytes have arrived.
type Ranges struct {
	// LongWay is how long the answer that opens an object takes to begin, at least,
	// on a long way.
	LongWay time.Duration
	// Head is how many bytes are read as one stream before the first range. That
	// stream is there already, and goes on if ranges turn out to be no use.
	Head int64
	// Size is that of a range, in bytes.
	Size int64
	// AtOnce is how many ranges of an object are under way or in memory.
	AtOnce int
	// Late is how long the first range is waited for behind the head.
	Late time.Duration
	// Memory has the bytes of ranges that there may be. A download that gets
	// too few for two ranges is one stream.
	Memory *semaphore.Weighted
}

// memory bounds the ranges of all downloads of this process together, in bytes.
// Beside it each connection has buffers of 128 KiB.
var memory = semaphore.NewWeighted(20 << 20)

// DefaultRanges returns what holds for downloads: an object of more than 8 MiB is
// read in ranges if its answer takes 15 ms to begin.
func DefaultRanges() Ranges {
	return Ranges{LongWay: 15 * time.Millisecond, Head: 6 << 20, Size: 2 << 20, AtOnce: 10, Late: 3 * time.Second, Memory: memory}
}

// peek is how many bytes are read before any range is asked for. Who only looks
// whether an object is encrypted reads less.
const peek = 16 << 10

// readAhead has ranges fetched that lie behind the head of the stream that is read now,
// which begins at start. They
// only save time: whatever goes wrong with them, the rest is read as one stream,
// and what is wrong with the object is seen there. After each failure half as many
// are tried, since a storage may not stand many connections.
func (r *Reader) readAhead(start int64) {
	r.until, r.peeked = r.size, true
	from := max(start+r.Ranges.Head, r.read)
	if r.atOnce < 2 || r.size-from <= r.Ranges.Size {
		return
	}
	if r.ahead = r.fetchRanges(from); r.ahead != nil {
		r.until = from
		r.atOnce /= 2
	}
}

// goOnAhead goes on with the ranges behind the head, or without them.
func (r *Reader) goOnAhead() {
	ahead := r.ahead
	r.ahead, r.until = nil, r.size
	if err := ahead.await(r.Ranges.Late); err != nil {
		r.tellOneStream(err)
		_ = ahead.Close()
		return
	}
	_ = r.body.Close()
	r.body = ahead
}

func (r *Reader) tellOneStream(why error) {
	r.client.Log.WithFields(logrus.Fields{"bucket": r.bucket, "key": r.key, "bytes": r.read}).WithError(why).
		Info("Reading the rest of an object as one stream")
}

// ranges is the rest of an object, read in ranges. It gives the bytes of a range
// when all of them are there and the answer has ended after them. Each range that
// has been read makes room for one more; so a slow reader has no more fetched than
// there is memory for.
type ranges struct {
	of      *Reader
	ctx     context.Context //nolint:containedctx // of the requests, which Close ends
	cancel  context.CancelFunc
	running sync.WaitGroup
	held    int64    // bytes of Ranges.Memory
	next    int64    // where the next range begins
	queue   []*piece // in the order of the object
}

// piece is one range.
type piece struct {
	buffer []byte
	unread []byte // of buffer
	done   chan struct{}
	err    error // once it is done
}

// fetchRanges begins with the first ranges, or returns nil where there is no memory
// for two.
func (r *Reader) fetchRanges(from int64) *ranges {
	s := &ranges{of: r, next: from}
	want := min(int64(r.atOnce)*r.Ranges.Size, r.size-from)
	for s.held < want && r.Ranges.Memory.TryAcquire(r.Ranges.Size) {
		s.held += r.Ranges.Size
	}
	if s.held < 2*r.Ranges.Size {
		r.Ranges.Memory.Release(s.held)
		return nil
	}
	heap.Hold()
	s.ctx, s.cancel = context.WithCancel(r.ctx)
	for room := s.held; room > 0 && s.next < r.size; room -= r.Ranges.Size {
		s.fetch(make([]byte, min(r.Ranges.Size, r.size-s.next)))
	}
	return s
}

// fetch begins with the next range.
func (s *ranges) fetch(buffer []byte) {
	first := s.next
	s.next = min(first+int64(len(buffer)), s.of.size)
	p := &piece{buffer: buffer, unread: buffer[:s.next-first], done: make(chan struct{})}
	s.queue = append(s.queue, p)
	s.running.Go(func() {
		defer close(p.done)
		p.err = client.Contained("read a range", func() error { return s.of.readRange(s.ctx, first, p.unread) })()
	})
}

// readRange reads the bytes from first on into all of p.
func (r *Reader) readRange(ctx context.Context, first int64, p []byte) error {
	body, info, err := r.openRange(ctx, first, first+int64(len(p))-1)
	if err != nil {
		return err
	}
	defer body.Close()
	if info.ETag != r.info.ETag {
		return s3err.Errorf(s3err.Changed, "the ETag was %.100q, and that of a range is %.100q", r.info.ETag, info.ETag)
	}
	if n, err := io.ReadFull(body, p); err != nil {
		return fmt.Errorf("after %d of %d bytes of a range: %w", n, len(p), err)
	}
	if _, err := io.CopyN(io.Discard, body, 1); err != io.EOF { //nolint:errorlint // the end is io.EOF itself
		return s3err.Errorf(s3err.Corrupt, "a range of %d bytes was asked for, and the answer does not end after them (%v)", len(p), err)
	}
	return nil
}

// await waits for the first range.
func (s *ranges) await(limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.queue[0].done:
		return s.queue[0].err
	case <-timer.C:
		return s3err.Errorf(s3err.Timeout, "the first range was not there %v after what is before it", limit)
	}
}

// Read implements io.Reader.
func (s *ranges) Read(p []byte) (int, error) {
	if len(s.queue) == 0 {
		return 0, io.EOF
	}
	first := s.queue[0]
	<-first.done
	if first.err != nil {
		return 0, first.err
	}
	n := copy(p, first.unread)
	if first.unread = first.unread[n:]; len(first.unread) == 0 {
		s.of.ranged++
		s.queue = s.queue[1:]
		if s.next < s.of.size {
			s.fetch(first.buffer)
		}
	}
	return n, nil
}

// Close ends the requests.
func (s *ranges) Close() error {
	s.cancel()
	s.running.Wait()
	s.of.Ranges.Memory.Release(s.held)
	heap.Release()
	return nil
}
