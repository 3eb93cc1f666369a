package objectstore

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// watchdog ends a request that makes no progress. While the body is sent and
// while the answer is read, bytes must move within stall; between the two the
// answer must begin within answer. It looks at progress, not at the total time:
// a slow link may take as long as it needs, also for the megabytes that the
// kernel holds when the last byte has been written.
type watchdog struct {
	next          http.RoundTripper
	stall, answer time.Duration
}

type patienceKey struct{}

// withPatience lets the answers to requests under ctx take d to begin, if that
// is longer than usual.
func withPatience(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

func patienceOf(ctx context.Context) time.Duration {
	d, _ := ctx.Value(patienceKey{}).(time.Duration)
	return d
}

// RoundTrip implements http.RoundTripper.
func (w watchdog) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	answer := w.answer
	answer = max(answer, patienceOf(ctx))
	watch := &watch{cancel: cancel, stall: w.stall, answer: answer}
	watched := req.Clone(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: watch.over}))
	if req.Body != nil && req.Body != http.NoBody {
		watched.Body = &sentBody{ReadCloser: req.Body, watch: watch, size: req.ContentLength}
		watch.expect("sending the body: the storage takes no more data", w.stall)
	} else {
		watch.expect("waiting for the storage's answer", answer)
	}
	resp, err := w.next.RoundTrip(watched)
	watch.stop()
	if err != nil {
		err = watch.explain(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &receivedBody{ReadCloser: resp.Body, watch: watch, ctx: ctx}
	return resp, nil
}

// watch is the timer of one request.
type watch struct {
	cancel        context.CancelCauseFunc
	stall, answer time.Duration

	mu    sync.Mutex
	timer *time.Timer
	ended bool
	conn  net.Conn // nil until there is one
	acked uint64   // bytes that the other side had taken at the last look
	step  string
	limit time.Duration
	since time.Time // of the last progress
}

// looks is how often within a limit the watch looks whether the other side has
// taken something of what the kernel holds.
const looks = 4

// over tells what the request is sent over.
func (w *watch) over(info httptrace.GotConnInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn, w.acked = info.Conn, acked(info.Conn)
}

// expect notes progress, and gives the next step d to happen.
func (w *watch) expect(step string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.step, w.limit, w.since = step, d, time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(d/looks, w.look)
	}
}

// look cancels the request when its time is up.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	if w.conn != nil {
		if n := acked(w.conn); n > w.acked {
			w.acked, w.since = n, time.Now()
		}
	}
	left := w.limit - time.Since(w.since)
	if left <= 0 {
		w.cancel(faultf(KindTimeout, "no progress for %v while %s", w.limit, w.step))
		return
	}
	w.timer.Reset(min(left, w.limit/looks))
}

// stop ends the watching of what was expected; the answer has begun.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.timer.Stop()
}

// explain returns why the watch canceled the request, if it did, or err.
func (w *watch) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); s3err.HasKind(cause) {
		return cause
	}
	return err
}

// sentBody notes that the body of a request is being taken.
type sentBody struct {
	io.ReadCloser
	watch *watch
	size  int64
	sent  int64
}

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.moved(n, err)
	return n, err
}

// WriteTo implements io.WriterTo.
func (b *sentBody) WriteTo(w io.Writer) (int64, error) {
	body, ok := b.ReadCloser.(io.WriterTo)
	if !ok {
		return io.Copy(w, struct{ io.Reader }{b})
	}
	return body.WriteTo(progress{w, b})
}

// moved notes that n more bytes are on their way. With an error, io.EOF for one,
// there are no more.
func (b *sentBody) moved(n int, err error) {
	b.sent += int64(n)
	if err != nil || (b.size > 0 && b.sent >= b.size) {
		b.watch.expect("waiting for the storage's answer", max(b.watch.answer, b.watch.stall))
	} else {
		b.watch.expect("sending the body: the storage takes no more data", b.watch.stall)
	}
}

// progress tells a body what was written of it.
type progress struct {
	io.Writer
	body *sentBody
}

// Write implements io.Writer.
func (p progress) Write(bytes []byte) (int, error) {
	n, err := p.Writer.Write(bytes)
	p.body.moved(n, nil)
	return n, err
}

// receivedBody bounds each read of an answer. Between reads time does not
// count: then it is the reader who is slow.
type receivedBody struct {
	io.ReadCloser
	watch *watch
	ctx   context.Context //nolint:containedctx // the request's, which lives as long as its body
	timer *time.Timer     // runs during a read
}

// Read implements io.Reader.
func (b *receivedBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.watch.stall, b.expire)
	} else {
		b.timer.Reset(b.watch.stall)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.watch.explain(b.ctx, err)
	}
	return n, err
}

func (b *receivedBody) expire() {
	b.watch.cancel(faultf(KindTimeout, "no progress for %v while reading the storage's answer", b.watch.stall))
}

// Close ends the request.
func (b *receivedBody) Close() error {
	err := b.ReadCloser.Close()
	b.watch.cancel(nil)
	return err
}
