package wire

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// progress ends a request that makes none. While the body is sent and while the
// answer is read, bytes must move within the stall limit; between the two the
// answer must begin. It looks at progress, not at the total time: a slow link may
// take as long as it needs.
type progress struct {
	next    http.RoundTripper
	limits  Limits
	slowest int64              // the slowest link that is served, in bytes a second of one connection
	log     logrus.FieldLogger // is told of a step that takes long, nil for nobody
	notice  time.Duration      // how long that is
}

// noticeAfter is how long a request may make no progress before the log says so.
const noticeAfter = 15 * time.Second

func newProgress(s *account.Settings, l Limits, log logrus.FieldLogger) progress {
	return progress{next: latest{s}, limits: l, slowest: slowestLink, log: log, notice: noticeAfter}
}

type answerTimeKey struct{}

// WithAnswerTime lets the answers to requests under ctx take d to begin and to be
// whole, if that is longer than usual.
func WithAnswerTime(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, answerTimeKey{}, d)
}

func answerTime(ctx context.Context) time.Duration {
	d, _ := ctx.Value(answerTimeKey{}).(time.Duration)
	return d
}

// The kernel takes megabytes of a body at once, and then sends them. A link is
// given time for them before the answer is waited for.
const (
	kernelHolds = 4 << 20 // bytes
	slowestLink = 16 << 10
)

// RoundTrip implements http.RoundTripper.
func (p progress) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{cancel: cancel, notice: p.notice, tell: p.teller(req)}
	limits := Limits{Answer: max(p.limits.Answer, answerTime(ctx)), Stall: p.limits.Stall}
	watched := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		inKernel := time.Duration(min(req.ContentLength, kernelHolds)) * time.Second / time.Duration(p.slowest)
		watched.Body = &sentBody{ReadCloser: req.Body, watch: w, stall: limits.Stall, answer: limits.Answer + inKernel}
		w.expect("sending the body: the storage takes no more data", limits.Stall)
	} else {
		w.expect("waiting for the storage's answer", limits.Answer)
	}
	resp, err := p.next.RoundTrip(watched)
	w.stop()
	if err != nil {
		defer cancel(nil)
		return nil, causeOf(ctx, err)
	}
	resp.Body = &receivedBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, stall: limits.Stall}
	return resp, nil
}

// teller returns what says in the log that a request makes no progress.
func (p progress) teller(req *http.Request) func(step string, since, limit time.Duration) {
	return func(step string, since, limit time.Duration) {
		if p.log != nil {
			p.log.WithFields(logrus.Fields{
				"method": req.Method, "path": req.URL.Path, "partNumber": req.URL.Query().Get("partNumber"),
				"noProgressFor": since.Round(time.Second).String(), "endsAfter": limit.String(),
			}).Info("S3 request is waiting: " + step)
		}
	}
}

// causeOf returns why a request was ended, if it was ended here, or err.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); s3err.HasKind(cause) {
		return cause
	}
	return err
}

// watch is the timer of one request until its answer begins.
type watch struct {
	cancel context.CancelCauseFunc
	notice time.Duration
	tell   func(step string, since, limit time.Duration)

	mu    sync.Mutex
	timer *time.Timer
	step  string
	limit time.Duration
	begun time.Time // when the step was begun
	ended bool
}

// expect gives the next step d to happen.
func (w *watch) expect(step string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.step, w.limit, w.begun = step, d, time.Now()
	next := min(d, w.notice)
	if w.timer == nil {
		w.timer = time.AfterFunc(next, w.expire)
	} else {
		w.timer.Reset(next)
	}
}

// expire ends the request at the limit of its step, and tells of the step before.
func (w *watch) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	since := time.Since(w.begun)
	switch {
	case w.ended || since < min(w.limit, w.notice): // the next step was begun meanwhile
	case since >= w.limit:
		w.cancel(s3err.Errorf(s3err.Timeout, "no progress for %v while %s", w.limit, w.step))
	default:
		w.tell(w.step, since, w.limit)
		w.timer.Reset(w.limit - since)
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.timer.Stop()
}

// sentBody notes that the body of a request is being taken.
type sentBody struct {
	io.ReadCloser
	watch         *watch
	stall, answer time.Duration
}

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.watch.expect("waiting for the storage's answer", b.answer)
	} else {
		b.watch.expect("sending the body: the storage takes no more data", b.stall)
	}
	return n, err
}

// receivedBody bounds each read of an answer. Between reads time does not count:
// then it is the reader who is slow.
type receivedBody struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // the request's, which lives as long as its body
	cancel context.CancelCauseFunc
	stall  time.Duration
	timer  *time.Timer // runs during a read
}

// Read implements io.Reader.
func (b *receivedBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.stall, b.expire)
	} else {
		b.timer.Reset(b.stall)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF { //nolint:errorlint // wrapped it would be a failure
		err = causeOf(b.ctx, err)
	}
	return n, err
}

func (b *receivedBody) expire() {
	b.cancel(s3err.Errorf(s3err.Timeout, "no progress for %v while reading the storage's answer", b.stall))
}

// Close ends the request.
func (b *receivedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
