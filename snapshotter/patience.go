package snapshotter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// patience bears the errors of a driver for a while: the controllers retry every
// error, so that none is final until it has lasted.
type patience struct {
	grace time.Duration
	log   logrus.FieldLogger
	end   context.CancelCauseFunc

	mu    sync.Mutex
	last  string
	timer *time.Timer
}

// newPatience returns a context that ends, with the error as its cause, when the
// driver has failed for as long as grace. stop releases it.
func newPatience(ctx context.Context, grace time.Duration, log logrus.FieldLogger) (_ context.Context, p *patience, stop func()) {
	ctx, end := context.WithCancelCause(ctx)
	p = &patience{grace: grace, log: log, end: end}
	return ctx, p, p.stop
}

// failing notes an error of the driver, and reports whether it is news. An error
// that only says that the driver is still at work does not count.
func (p *patience) failing(message string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(message)
	if message == p.last {
		return false
	}
	p.last = message
	p.log.WithField("message", message).Warn("the driver reports an error; it will be retried")
	return true
}

func (p *patience) count(message string) {
	switch working := saysWorking(message); {
	case working && p.timer != nil:
		p.timer.Stop()
		p.timer = nil
	case !working && p.timer == nil:
		p.timer = time.AfterFunc(p.grace, p.exhausted)
	}
}

// hurry shortens what is left of the grace, for an error that hardly ever passes.
func (p *patience) hurry(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil && grace < p.grace {
		p.grace = grace
		p.timer.Reset(grace)
	}
}

func (p *patience) exhausted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(fmt.Errorf("the driver has failed for %s without success: %s", p.grace, p.last))
}

func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.end(nil)
}
