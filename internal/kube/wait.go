package kube

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// Target says what a wait is about, in the words of its log and its errors.
type Target struct {
	Name   string // the object's name; "" stands for any object of the kind
	Object string // what the object is: "VolumeSnapshot app/data"
	Until  string // what is waited for: "its snapshot handle"
}

// Condition decides on a state of the object, which is nil while there is no such
// object. It returns done when the wait is over, an error when it can never
// succeed, and in last what is worth knowing while it lasts.
//
// An error ends the wait and is returned as it is.
//
// Where a wait is for any object of a kind, it decides on each of them, and on nil
// for one that was deleted.
type Condition[T any] func(object *T) (done bool, last string, err error)

// TimeoutError tells that a wait was ended by its context.
type TimeoutError struct {
	Target
	Waited time.Duration
	Last   string // the last thing the condition had to say
	API    error  // the last failure of the Kubernetes API, if it did not recover
	Cause  error  // the context's error
}

func (e *TimeoutError) Error() string {
	text := fmt.Sprintf("%s: gave up after %s waiting for %s", e.Object, e.Waited.Round(time.Millisecond), e.Until)
	if e.Last != "" {
		text += "; last known: " + e.Last
	}
	if e.API != nil {
		text += fmt.Sprintf("; the Kubernetes API fails: %v", e.API)
	}
	return fmt.Sprintf("%s: %v", text, e.Cause)
}

func (e *TimeoutError) Unwrap() error { return e.Cause }

// Until waits until the condition holds for the object, and returns the object
// as it then was. It learns of each change by a watch, which it resumes when the
// connection breaks, and which it starts anew from a list when the API server no
// longer has the changes in between. Now and then it logs what it waits for.
//
// from is the last known state, from which to go on without asking for it
// again; nil has Until begin with a list. The wait is bounded by ctx, and ends
// with a *TimeoutError then.
func (r Resource[T, L]) Until(ctx context.Context, target Target, from *T, cond Condition[T]) (*T, error) {
	w := waiter[T, L]{client: r.verbs, retry: r.retry, target: target, cond: cond, started: time.Now(), state: from}
	if from != nil {
		w.version = metaOf(from).GetResourceVersion()
	}
	tell := time.NewTicker(tellInterval)
	defer tell.Stop()
	w.tell = tell.C
	return w.run(ctx)
}

// UntilGone waits until exactly this object is gone. what names it.
func (r Resource[T, L]) UntilGone(ctx context.Context, object *T, what string) error {
	target := Target{Name: metaOf(object).GetName(), Object: what, Until: "its removal"}
	_, err := r.Until(ctx, target, object, func(now *T) (bool, string, error) {
		return isGone(now, metaOf(object).GetUID()), holders(now), nil
	})
	return err
}

func isGone[T any](now *T, uid types.UID) bool { return now == nil || metaOf(now).GetUID() != uid }

// holders tells what holds an object that is to go.
func holders[T any](now *T) string {
	if now == nil {
		return ""
	}
	return fmt.Sprintf("deletion requested %t, finalizers %v", metaOf(now).GetDeletionTimestamp() != nil, metaOf(now).GetFinalizers())
}

// tellInterval is how often a wait says what it waits for.
const tellInterval = 30 * time.Second

// listWatcher is what a wait needs of a client.
type listWatcher[L any] interface {
	List(ctx context.Context, opts metav1.ListOptions) (*L, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

type waiter[T, L any] struct {
	client  listWatcher[L]
	retry   retrier
	target  Target
	cond    Condition[T]
	started time.Time
	tell    <-chan time.Time

	state   *T
	version string // where to watch from; "" has to be listed first
	last    string
	api     error
	refused time.Time // since when the API refuses for lack of rights
	failing time.Time // since when the API server fails
}

// watchSeconds bounds one watch, so that a connection that died silently costs
// at most this long.
const watchSeconds int64 = 60

// refusalGrace is how long a refusal is accepted: an API server that has just
// started knows neither roles nor tokens for a moment.
const refusalGrace = 10 * time.Second

func (w *waiter[T, L]) run(ctx context.Context) (*T, error) {
	if w.version != "" {
		if done, err := w.decide(w.state); done {
			return w.state, err
		}
	}
	pause := newPause()
	for {
		began := time.Now()
		done, err := w.round(ctx)
		if done {
			return w.state, err
		}
		if w.api = err; err == nil && time.Since(began) > time.Second {
			pause = newPause()
			continue
		}
		if sleep(ctx, pause.Step()) != nil {
			return w.state, w.timeout(ctx)
		}
	}
}

// round is one list, if one is needed, and one watch. An error without done is
// one that may pass.
func (w *waiter[T, L]) round(ctx context.Context) (done bool, err error) {
	if w.version == "" {
		done, err = w.list(ctx)
	}
	if !done && err == nil {
		done, err = w.watch(ctx)
	}
	switch {
	case done:
		return true, err
	case ctx.Err() != nil:
		w.api = err
		return true, w.timeout(ctx)
	case err != nil && w.final(err):
		return true, fmt.Errorf("%s: wait for %s: %w", w.target.Object, w.target.Until, err)
	}
	return false, err
}

func (w *waiter[T, L]) list(ctx context.Context) (done bool, err error) {
	list, err := attempt(ctx, func(ctx context.Context) (*L, error) { return w.client.List(ctx, w.options()) })
	if err != nil {
		return false, err
	}
	listMeta, err := meta.ListAccessor(list)
	if err != nil {
		return true, err
	}
	w.version, w.refused, w.failing = listMeta.GetResourceVersion(), time.Time{}, time.Time{}
	seen := false
	err = meta.EachListItem(asObject(list), func(item runtime.Object) error {
		if seen = true; done {
			return nil
		}
		w.state = any(item).(*T)
		done, err = w.decide(w.state)
		return err
	})
	if seen || err != nil {
		return done || err != nil, err
	}
	w.state = nil
	return w.decide(nil)
}

func (w *waiter[T, L]) watch(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(watchSeconds)*time.Second+attemptTimeout)
	defer cancel()
	options := w.options()
	seconds := watchSeconds
	options.ResourceVersion, options.TimeoutSeconds, options.AllowWatchBookmarks = w.version, &seconds, true
	events, err := w.client.Watch(ctx, options)
	if err != nil {
		return false, w.stale(err)
	}
	defer events.Stop()
	w.refused, w.failing = time.Time{}, time.Time{}
	return w.follow(ctx, events)
}

func (w *waiter[T, L]) follow(ctx context.Context, events watch.Interface) (done bool, err error) {
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-w.tell:
			w.retry.log.WithField("lastKnown", w.last).Infof("%s: waiting since %s for %s", w.target.Object, time.Since(w.started).Round(time.Second), w.target.Until)
		case event, open := <-events.ResultChan():
			if !open {
				return false, nil
			}
			if done, err = w.take(event); done || err != nil {
				return done, err
			}
		}
	}
}

func (w *waiter[T, L]) take(event watch.Event) (done bool, err error) {
	if event.Type == watch.Error {
		return false, w.stale(apierrors.FromObject(event.Object))
	}
	object, ok := any(event.Object).(*T)
	if !ok {
		return true, fmt.Errorf("%s: the Kubernetes API sent a %T", w.target.Object, event.Object)
	}
	w.version = metaOf(object).GetResourceVersion()
	switch event.Type {
	case watch.Bookmark:
		return false, nil
	case watch.Deleted:
		object = nil
	}
	w.state = object
	return w.decide(object)
}

// stale has the next round begin with a list: after any error of a watch there
// may be changes that no watch will show.
func (w *waiter[T, L]) stale(err error) error {
	w.version = ""
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return nil
	}
	return err
}

func (w *waiter[T, L]) decide(object *T) (done bool, err error) {
	done, last, err := w.cond(object)
	if last != "" {
		w.last = last
	}
	return done || err != nil, err
}

// final tells whether an error of the API will not pass. A refusal must last, and
// so must a failure of the API server.
func (w *waiter[T, L]) final(err error) bool {
	if transient(err) {
		if w.failing.IsZero() {
			w.failing = time.Now()
			w.retry.log.WithError(err).Warnf("the Kubernetes API does not answer; it is asked again: %s, wait for %s", w.target.Object, w.target.Until)
		}
		return w.retry.failsTooLong(err, w.failing)
	}
	if !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
		return true
	}
	if w.refused.IsZero() {
		w.refused = time.Now()
	}
	return time.Since(w.refused) > refusalGrace
}

func (w *waiter[T, L]) timeout(ctx context.Context) error {
	return &TimeoutError{Target: w.target, Waited: time.Since(w.started), Last: w.last, API: w.api, Cause: context.Cause(ctx)}
}

func (w *waiter[T, L]) options() metav1.ListOptions {
	if w.target.Name == "" {
		return metav1.ListOptions{}
	}
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", w.target.Name).String()}
}
