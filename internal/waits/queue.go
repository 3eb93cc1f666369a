package waits

import (
	"context"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/semaphore"
)

// queueLimit bounds the wait in a queue. Whoever is ahead may move much data over a
// slow link, and ends by limits of its own when it makes no progress; so only what
// none of those limits knows lasts that long.
const queueLimit = 4 * time.Hour

// Queue is a semaphore. A wait for it says in the log what it is for, and ends.
type Queue struct {
	*semaphore.Weighted
	First time.Duration // until the log says what is waited for
	Limit time.Duration // of a wait
}

// NewQueue returns a queue for a total of size.
func NewQueue(size int64) *Queue {
	return &Queue{Weighted: semaphore.NewWeighted(size), First: FirstNotice, Limit: queueLimit}
}

// Acquire waits until n are free, and takes them. message and what are for the log:
// who waits, and for what. The error is the cause of ctx where that ends, and wraps
// context.DeadlineExceeded at the queue's own limit.
func (q *Queue) Acquire(ctx context.Context, n int64, log logrus.FieldLogger, message, what string) error {
	if q.TryAcquire(n) {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := Watch{First: q.First, Tell: Logged(log, message), End: func(step string, limit time.Duration) {
		cancel(fmt.Errorf("gave up after %v of waiting for %s: %w", limit, step, context.DeadlineExceeded))
	}}
	w.Expect(what, q.Limit)
	defer w.Stop()
	if q.Weighted.Acquire(ctx, n) != nil {
		return context.Cause(ctx)
	}
	return nil
}
