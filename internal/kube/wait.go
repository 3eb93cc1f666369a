package kube

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Target says what a wait is about, in the words of its log and its errors.
type Target struct {
	Name   string // the object's name, or "" for any object
	Object string // what the object is: "VolumeSnapshot app/data"
	Until  string // what is waited for: "its snapshot handle"
}

// Condition decides on a state of the object, which is nil while there is no such
// object. It returns done when the wait is over, an error when it can never
// succeed, and in last what is worth knowing while it lasts.
//
// An error ends the wait and is returned as it is.
type Condition[T Object] func(object T) (done bool, last string, err error)

// Until waits until the condition holds for the object, and returns the object
// as it then was. It learns of each change by a watch, which it resumes when the
// connection breaks, and which it starts again from a list when the API server no
// longer has the changes in between. From time to time it logs what it waits for.
//
// from is the last known state, from which to go on without asking for it
// again; nil has Until begin with a list. The wait is bounded by ctx, and ends
// with an error that wraps the context's cause then.
func (r Resource[T]) Until(ctx context.Context, target Target, from T, cond Condition[T]) (T, error) {
	return until(ctx, r.verbs, r.retry, target, from, cond)
}

// UntilGone waits until exactly this object is gone.
func (r Resource[T]) UntilGone(ctx context.Context, object T) error {
	name, uid := object.GetName(), object.GetUID()
	_, err := r.Until(ctx, Target{Name: name, Object: r.Describe(name), Until: "its removal"}, object, func(now T) (bool, string, error) {
		if Missing(now) || now.GetUID() != uid {
			return true, "", nil
		}
		return false, fmt.Sprintf("deletion requested %t, finalizers %v", now.GetDeletionTimestamp() != nil, now.GetFinalizers()), nil
	})
	return err
}

// tellInterval is how often a wait says what it waits for.
const tellInterval = 30 * time.Second

// listWatcher is what a wait needs of a client.
type listWatcher interface {
	List(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

type waiter[T Object] struct {
	client  listWatcher
	retry   retrier
	target  Target
	cond    Condition[T]
	started time.Time
	tell    <-chan time.Time

	state   T
	version string // where to watch from; "" has to be listed first
	last    string
	granted time.Time // when the API last answered, or the wait began
}

// watchSeconds bounds one watch, so that a connection that died silently costs
// at most this long.
const watchSeconds int64 = 60

// refusalGrace is how long a refusal is accepted: an API server that has just
// started knows neither roles nor tokens for a moment.
const refusalGrace = 10 * time.Second

func until[T Object](ctx context.Context, client listWatcher, retry retrier, target Target, from T, cond Condition[T]) (T, error) {
	now := time.Now()
	w := waiter[T]{client: client, retry: retry, target: target, cond: cond, started: now, granted: now, tell: time.Tick(tellInterval), state: from}
	if !Missing(from) {
		w.version = from.GetResourceVersion()
		if done, err := w.decide(from); done {
			return from, err
		}
	}
	return w.run(ctx)
}

// run goes on from a list, or from where the watch before has ended.
func (w *waiter[T]) run(ctx context.Context) (T, error) {
	for pause := newPause(); ; {
		began, listing, step := time.Now(), w.version == "", w.watch
		if listing {
			step = w.list
		}
		done, err := step(ctx)
		switch {
		case done:
			return w.state, err
		case ctx.Err() == nil && err != nil && !w.mayPass(err):
			return w.state, fmt.Errorf("%s: wait for %s: %w", w.target.Object, w.target.Until, err)
		case err == nil && listing: // the watch follows at once
		case err == nil && time.Since(began) > time.Second:
			pause = newPause()
		default:
			_ = sleep(ctx, pause.Step()) // the end of ctx is looked at below
		}
		if ctx.Err() != nil {
			return w.state, w.timeout(context.Cause(ctx), err)
		}
	}
}

// list repeats what fails for a while, as every request.
func (w *waiter[T]) list(ctx context.Context) (done bool, err error) {
	list, err := retry(ctx, w.retry, "list "+w.target.Object+" to wait for "+w.target.Until, func(ctx context.Context) (runtime.Object, error) {
		return w.client.List(ctx, w.options())
	})
	if err != nil {
		return false, err
	}
	items, err := itemsOf[T](list)
	if err != nil {
		return true, err
	}
	w.version, w.granted, w.state = list.(metav1.ListInterface).GetResourceVersion(), time.Now(), none[T]()
	for _, w.state = range items {
		if done, err := w.decide(w.state); done {
			return true, err
		}
	}
	if len(items) == 0 {
		return w.decide(none[T]())
	}
	return false, nil
}

func (w *waiter[T]) watch(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(watchSeconds)*time.Second+attemptTimeout)
	defer cancel()
	options := w.options()
	options.ResourceVersion, options.TimeoutSeconds, options.AllowWatchBookmarks = w.version, new(watchSeconds), true
	events, err := w.client.Watch(ctx, options)
	if err != nil {
		return false, w.stale(err)
	}
	defer events.Stop()
	w.granted = time.Now()
	return w.follow(ctx, events)
}

func (w *waiter[T]) follow(ctx context.Context, events watch.Interface) (done bool, err error) {
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

func (w *waiter[T]) take(event watch.Event) (done bool, err error) {
	if event.Type == watch.Error {
		return false, w.stale(apierrors.FromObject(event.Object))
	}
	object, err := as[T](event.Object, nil)
	if err != nil {
		return true, fmt.Errorf("%s: %w", w.target.Object, err)
	}
	w.version = object.GetResourceVersion()
	switch event.Type {
	case watch.Bookmark:
		return false, nil
	case watch.Deleted:
		object = none[T]()
	}
	w.state = object
	return w.decide(object)
}

// stale has the next round begin with a list: after any error of a watch there
// may be changes that no watch will show. It returns an error that a list would
// have too.
func (w *waiter[T]) stale(err error) error {
	w.version = ""
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || transient(err) {
		return nil
	}
	return err
}

func (w *waiter[T]) decide(object T) (done bool, err error) {
	done, last, err := w.cond(object)
	if last != "" {
		w.last = last
	}
	return done || err != nil, err
}

// mayPass tells whether an error of the API may be gone in the next round, which a
// refusal may be for a while. What else passes was waited for already.
func (w *waiter[T]) mayPass(err error) bool {
	return (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) && time.Since(w.granted) < refusalGrace
}

// timeout is the error of a wait that cause has ended; api is a failure of the API
// that has not passed.
func (w *waiter[T]) timeout(cause, api error) error {
	text := fmt.Sprintf("%s: gave up after %s waiting for %s", w.target.Object, time.Since(w.started).Round(time.Millisecond), w.target.Until)
	if w.last != "" {
		text += "; last known: " + w.last
	}
	if api != nil {
		text += fmt.Sprintf("; the Kubernetes API fails: %v", api)
	}
	return fmt.Errorf("%s: %w", text, cause)
}

func (w *waiter[T]) options() metav1.ListOptions {
	if w.target.Name == "" {
		return metav1.ListOptions{}
	}
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", w.target.Name).String()}
}
