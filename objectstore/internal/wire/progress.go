package wire

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/waits"
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

func newProgress(s *account.Settings, l Limits, log logrus.FieldLogger) progress {
	return progress{next: latest{s}, limits: l, slowest: slowestLink, log: log, notice: waits.FirstNotice}
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

// awaiting is the step that requestTimeout bounds.
const awaiting = "waiting for the storage's answer"

// RoundTrip implements http.RoundTripper.
func (p progress) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := p.watch(req, cancel)
	defer w.Stop()
	limits := Limits{Answer: max(p.limits.Answer, answerTime(ctx)), Stall: p.limits.Stall}
	watched := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		inKernel := time.Duration(min(req.ContentLength, kernelHolds)) * time.Second / time.Duration(p.slowest)
		watched.Body = &sentBody{ReadCloser: req.Body, watch: w, stall: limits.Stall, answer: limits.Answer + inKernel}
		w.Expect("sending the body: the storage takes no more data", limits.Stall)
	} else {
		w.Expect(awaiting, limits.Answer)
	}
	resp, err := p.next.RoundTrip(watched)
	if err != nil {
		defer cancel(nil)
		return nil, causeOf(ctx, err)
	}
	resp.Body = &receivedBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, watch: p.watch(req, cancel), stall: limits.Stall}
	return resp, nil
}

// watch returns the timer of a request. It ends the request at the limit of a step.
func (p progress) watch(req *http.Request, cancel context.CancelCauseFunc) *waits.Watch {
	return &waits.Watch{First: p.notice, Tell: func(step string, waited, limit time.Duration) {
		if p.log != nil {
			log := p.log.WithFields(logrus.Fields{"method": req.Method, "path": req.URL.Path, "partNumber": req.URL.Query().Get("partNumber")})
			waits.Logged(log, "S3 request is waiting: ")(step, waited, limit)
		}
	}, End: func(step string, limit time.Duration) {
		setting := "stallTimeout"
		if step == awaiting {
			setting = "requestTimeout"
		}
		cancel(s3err.Hinted(s3err.Timeout, slow(setting), "no progress for %v while %s", limit, step))
	}}
}

// causeOf returns why a request was ended, if it was ended here, or err.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); s3err.HasKind(cause) {
		return cause
	}
	return err
}

// sentBody notes that the body of a request is being taken.
type sentBody struct {
	io.ReadCloser
	watch         *waits.Watch
	stall, answer time.Duration
}

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.watch.Expect(awaiting, b.answer)
	} else {
		b.watch.Expect("sending the body: the storage takes no more data", b.stall)
	}
	return n, err
}

// receivedBody bounds each read of an answer. Between reads time does not count:
// then it is the reader who is slow.
type receivedBody struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // the request's, which lives as long as its body
	cancel context.CancelCauseFunc
	watch  *waits.Watch
	stall  time.Duration
}

// Read implements io.Reader.
func (b *receivedBody) Read(p []byte) (int, error) {
	b.watch.Expect("reading the storage's answer", b.stall)
	n, err := b.ReadCloser.Read(p)
	b.watch.Pause()
	if err != nil && err != io.EOF { //nolint:errorlint // wrapped it would be a failure
		err = causeOf(b.ctx, err)
	}
	return n, err
}

// Close ends the request.
func (b *receivedBody) Close() error {
	err := b.ReadCloser.Close()
	b.watch.Stop()
	b.cancel(nil)
	return err
}
