package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/drivererr"
)

// missingTime is how long a driver that says there is no such snapshot is asked
// again: long enough for a storage that shows a new snapshot late.
const missingTime = 10 * time.Second

// tolerance accepts the errors of a driver for a while: the controllers repeat
// every request, so that no error is the end until it has lasted. Errors that a
// driver gives while it works are accepted until the call's time is up, unless they count.
type tolerance struct {
	grace  time.Duration
	counts bool
	log    logrus.FieldLogger
	end    context.CancelCauseFunc

	mu     sync.Mutex
	last   string
	failed time.Time // since when errors count, zero while none does
	timer  *time.Timer
}

// driverError is an error of a driver that has lasted.
type driverError struct {
	message string
	lasted  time.Duration
}

func (e *driverError) Error() string {
	return fmt.Sprintf("the driver has failed for %s without success: %s", e.lasted, e.message)
}

// isMissing tells whether err says that there is no such snapshot.
func isMissing(err error) bool {
	failed := new(driverError)
	return errors.As(err, &failed) && drivererr.Missing(failed.message)
}

// tolerate returns a context that ends, with a *driverError as its cause, when the
// driver has failed for too long.
func (s *Snapshotter) tolerate(ctx context.Context, log logrus.FieldLogger) (context.Context, *tolerance) {
	ctx, end := context.WithCancelCause(ctx)
	return ctx, &tolerance{grace: s.settings.ErrorGracePeriod, log: log, end: end}
}

// report tells the log of an error that is new, and counts how long it lasts. An
// empty message is none.
func (t *tolerance) report(message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if message == "" {
		return
	}
	if message != t.last {
		t.last = message
		t.log.WithField("message", message).Warn("the driver reports an error; it is asked again")
	}
	if drivererr.MayPass(message) && !t.counts {
		t.pass()
		return
	}
	grace := t.grace
	if drivererr.Missing(message) {
		grace = min(missingTime, grace)
	}
	if t.failed.IsZero() {
		t.failed = time.Now()
	}
	if t.timer == nil {
		t.timer = time.AfterFunc(grace-time.Since(t.failed), contained(t.log, "the wait for the driver", func() { t.end(&driverError{t.message(), grace}) }))
	}
}

// of is told of a content's handle and of the error in its status, which csi-snapshotter
// leaves there until the snapshot is ready: of one that has a handle by now the error has
// passed, and so it has where another content has none.
func (t *tolerance) of(handle, message string) {
	if handle == "" && message != "" {
		t.report(message)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = ""
	t.pass()
}

// again is told that the driver has been asked again, and may be at work: its errors count
// when it fails once more.
func (t *tolerance) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopTimer()
}

func (t *tolerance) pass() {
	t.failed = time.Time{}
	t.stopTimer()
}

// message is the last error, "" if there was none.
func (t *tolerance) message() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

func (t *tolerance) stopTimer() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

func (t *tolerance) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopTimer()
	t.end(nil)
}
