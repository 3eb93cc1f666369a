// Package waits bounds waits, and has those that last say in the log what they are
// for.
package waits

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// FirstNotice is how long a wait lasts before the log says so.
	FirstNotice = 15 * time.Second
	nextNotice  = time.Minute
)

// Watch is the timer of waits that follow one another. It is for several
// goroutines. The fields are set before the first wait. Stop ends its use.
type Watch struct {
	First time.Duration // until the log says what is waited for
	Tell  func(step string, waited, limit time.Duration)
	End   func(step string, limit time.Duration) // is called at the limit of a wait; none follows

	mu      sync.Mutex
	timer   *time.Timer // nil where none runs
	due     time.Time   // when the timer fires
	step    string
	limit   time.Duration
	begun   time.Time
	next    time.Duration // from begun until there is something to do
	waiting bool
	stopped bool
}

// Expect begins the wait for step, which may take limit, and ends the one before.
func (w *Watch) Expect(step string, limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	w.step, w.limit, w.begun, w.waiting = step, limit, time.Now(), true
	w.next = min(limit, w.First)
	if due := w.begun.Add(w.next); w.timer == nil || due.Before(w.due) {
		w.set(w.next, due)
	}
}

// set has the timer fire. Most waits are over within microseconds, and to set a timer
// wakes the runtime: one that fires too early is set again then, and only then.
func (w *Watch) set(after time.Duration, due time.Time) {
	w.due = due
	if w.timer == nil {
		w.timer = time.AfterFunc(after, w.expire)
		return
	}
	w.timer.Reset(after)
}

// expire ends a wait at its limit, and tells of it before.
func (w *Watch) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	waited := time.Since(w.begun)
	switch {
	case !w.waiting:
		w.timer = nil
		return
	case waited < w.next: // it began after the timer was set
	case waited >= w.limit:
		w.waiting, w.stopped = false, true
		w.End(w.step, w.limit)
		return
	default:
		w.Tell(w.step, waited, w.limit)
		w.next = min(w.limit, waited+nextNotice)
	}
	w.set(w.next-waited, w.begun.Add(w.next))
}

// Pause ends a wait. Another may follow.
func (w *Watch) Pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
}

// Stop ends a wait, and has none follow.
func (w *Watch) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting, w.stopped = false, true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// Logged returns what says in the log, behind message, what is waited for, for how
// long already, and how long it may take.
func Logged(log logrus.FieldLogger, message string) func(step string, waited, limit time.Duration) {
	return func(step string, waited, limit time.Duration) {
		log.WithFields(logrus.Fields{"waitedFor": waited.Round(time.Second).String(), "endsAfter": limit.String()}).
			Info(message + step)
	}
}
