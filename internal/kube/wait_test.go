package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// script is an API server that answers as written: one step for each list and
// each watch. It fails a test that asks for more.
type script struct {
	t      *testing.T
	lists  []listStep
	watchs []watchStep
	from   []string // the versions from which was watched
}

type listStep struct {
	version string
	config  *corev1.ConfigMap
	err     error
}

type watchStep struct {
	events []watch.Event
	err    error
	open   bool // leave the watch open after the last event
}

func (s *script) List(_ context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	require.Equal(s.t, "metadata.name=x", opts.FieldSelector)
	require.NotEmpty(s.t, s.lists, "an unexpected list")
	step := s.lists[0]
	s.lists = s.lists[1:]
	list := &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: step.version}}
	if step.config != nil {
		list.Items = append(list.Items, *step.config)
	}
	return list, step.err
}

func (s *script) Watch(_ context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	require.NotEmpty(s.t, s.watchs, "an unexpected watch")
	s.from = append(s.from, opts.ResourceVersion)
	step := s.watchs[0]
	s.watchs = s.watchs[1:]
	if step.err != nil {
		return nil, step.err
	}
	w := watch.NewFakeWithChanSize(len(step.events), false)
	for _, e := range step.events {
		w.Action(e.Type, e.Object)
	}
	if !step.open {
		w.Stop()
	}
	return w, nil
}

func config(version, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x", ResourceVersion: version}, Data: map[string]string{"v": value}}
}

func status(err *apierrors.StatusError) runtime.Object { return &err.ErrStatus }

func isReady(c *corev1.ConfigMap) (bool, string, error) {
	switch {
	case c == nil:
		return false, "absent", nil
	case c.Data["v"] == "bad":
		return false, "", errors.New("it is bad")
	}
	return c.Data["v"] == "ready", "value " + c.Data["v"], nil
}

var target = Target{Name: "x", Object: "ConfigMap x", Until: "the value ready"}

func (s *script) run(t *testing.T, within time.Duration, from *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	s.t = t
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return until(ctx, s, quiet, target, from, isReady)
}

// quiet repeats requests until the context ends, and tells nobody.
var quiet = retrier{log: logrus.New()}

func TestUntil(t *testing.T) {
	unavailable := apierrors.NewServiceUnavailable("starting")
	expired := apierrors.NewResourceExpired("too old")
	for name, c := range map[string]struct {
		script script
		from   *corev1.ConfigMap
		want   []string // the versions from which is watched
	}{
		"known to be so": {from: config("1", "ready")},
		"listed so":      {script: script{lists: []listStep{{version: "5", config: config("3", "ready")}}}},
		"becomes so": {
			script: script{watchs: []watchStep{{events: []watch.Event{{Type: watch.Modified, Object: config("2", "ready")}}}}},
			from:   config("1", ""), want: []string{"1"},
		},
		"absent, then made": {
			script: script{lists: []listStep{{version: "5"}}, watchs: []watchStep{{events: []watch.Event{{Type: watch.Added, Object: config("6", "ready")}}}}},
			want:   []string{"5"},
		},
		"a dropped connection is resumed": {
			script: script{watchs: []watchStep{
				{events: []watch.Event{{Type: watch.Modified, Object: config("2", "")}, {Type: watch.Bookmark, Object: config("7", "")}}},
				{events: []watch.Event{{Type: watch.Modified, Object: config("8", "ready")}}},
			}},
			from: config("1", ""), want: []string{"1", "7"},
		},
		"410 as the answer": {
			script: script{watchs: []watchStep{{err: expired}}, lists: []listStep{{version: "9", config: config("8", "ready")}}},
			from:   config("1", ""), want: []string{"1"},
		},
		"410 as an event": {
			script: script{watchs: []watchStep{{events: []watch.Event{{Type: watch.Error, Object: status(expired)}}}}, lists: []listStep{{version: "9", config: config("8", "ready")}}},
			from:   config("1", ""), want: []string{"1"},
		},
		"the server is away for a while": {
			script: script{
				watchs: []watchStep{{err: unavailable}},
				lists:  []listStep{{err: unavailable}, {err: &url.Error{Op: "Get", Err: errors.New("connection refused")}}, {version: "9", config: config("8", "ready")}},
			},
			from: config("1", ""), want: []string{"1"},
		},
		"the server does not know the rights yet": {
			script: script{lists: []listStep{{err: apierrors.NewForbidden(schema.GroupResource{}, "x", nil)}, {version: "9", config: config("8", "ready")}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.script.run(t, 5*time.Second, c.from)
			require.NoError(t, err)
			require.Equal(t, "ready", got.Data["v"])
			require.Equal(t, c.want, c.script.from)
			require.Empty(t, c.script.lists)
			require.Empty(t, c.script.watchs)
		})
	}
}

func TestUntilEndsWithTheLastKnown(t *testing.T) {
	s := script{watchs: []watchStep{{events: []watch.Event{{Type: watch.Modified, Object: config("2", "almost")}}, open: true}}}
	_, err := s.run(t, 400*time.Millisecond, config("1", ""))
	require.ErrorContains(t, err, "ConfigMap x: gave up after ")
	require.ErrorContains(t, err, "waiting for the value ready; last known: value almost")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestUntilTellsWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, told := logtest.NewNullLogger()
		s := &script{t: t, watchs: []watchStep{{events: []watch.Event{{Type: watch.Modified, Object: config("2", "almost")}}, open: true}}}
		ctx, cancel := context.WithTimeout(t.Context(), tellInterval+time.Second)
		defer cancel()
		_, err := until(ctx, s, retrier{log: log}, target, config("1", ""), isReady)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, told.AllEntries(), 1)
		require.Equal(t, "ConfigMap x: waiting since 30s for the value ready", told.LastEntry().Message)
		require.Equal(t, "value almost", told.LastEntry().Data["lastKnown"])
	})
}

func TestUntilNamesTheCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &script{t: t, watchs: []watchStep{{open: true}}}
	time.AfterFunc(20*time.Millisecond, func() { cancel(errors.New("the driver has failed")) })
	_, err := until(ctx, s, quiet, target, config("1", ""), isReady)
	require.ErrorContains(t, err, "the driver has failed")
}

func TestUntilSaysThatTheAPIFails(t *testing.T) {
	s := script{}
	for range 20 {
		s.lists = append(s.lists, listStep{err: apierrors.NewServiceUnavailable("no leader")})
	}
	_, err := s.run(t, 400*time.Millisecond, nil)
	require.ErrorContains(t, err, "the Kubernetes API fails: context deadline exceeded: no leader")
}

func TestUntilEndsAtOnce(t *testing.T) {
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, "x")
	s := script{lists: []listStep{{err: missing}}}
	_, err := s.run(t, 400*time.Millisecond, nil)
	require.ErrorIs(t, err, missing)

	s = script{watchs: []watchStep{{events: []watch.Event{{Type: watch.Modified, Object: config("2", "bad")}}}}}
	_, err = s.run(t, 400*time.Millisecond, config("1", ""))
	require.EqualError(t, err, "it is bad")
}

func TestUntilSeesADeletion(t *testing.T) {
	s := &script{t: t, watchs: []watchStep{{events: []watch.Event{{Type: watch.Deleted, Object: config("2", "")}}}}}
	got, err := until(t.Context(), s, quiet, target, config("1", ""), func(c *corev1.ConfigMap) (bool, string, error) { return c == nil, "", nil })
	require.NoError(t, err)
	require.Nil(t, got)
}

func TestTransient(t *testing.T) {
	unknownPath := apierrors.NewGenericServerResponse(http.StatusNotFound, "GET", schema.GroupResource{}, "", "404 page not found", 0, true)
	for want, errs := range map[bool][]error{
		true: {
			apierrors.NewServiceUnavailable(""), apierrors.NewInternalError(errors.New("x")), apierrors.NewTooManyRequests("", 1),
			apierrors.NewTimeoutError("", 1), apierrors.NewServerTimeout(schema.GroupResource{}, "get", 1),
			&url.Error{Op: "Get", Err: errors.New("connection refused")}, fmt.Errorf("wrapped: %w", context.DeadlineExceeded),
		},
		false: {
			unknownPath, apierrors.NewNotFound(schema.GroupResource{}, "x"), apierrors.NewConflict(schema.GroupResource{}, "x", nil),
			apierrors.NewBadRequest(""), apierrors.NewForbidden(schema.GroupResource{}, "x", nil), context.Canceled, errors.New("cannot decode"),
		},
	} {
		for _, err := range errs {
			require.Equal(t, want, transient(err), "%v", err)
		}
	}
}

func TestRetry(t *testing.T) {
	calls := 0
	got, err := retry(t.Context(), quiet, "answer", func(context.Context) (string, error) {
		if calls++; calls < 3 {
			return "", apierrors.NewServiceUnavailable("starting")
		}
		return "done", nil
	})
	require.NoError(t, err)
	require.Equal(t, "done", got)
	require.Equal(t, 3, calls)

	calls = 0
	_, err = retry(t.Context(), quiet, "answer", func(context.Context) (int, error) { calls++; return 0, apierrors.NewBadRequest("no") })
	require.EqualError(t, err, "no")
	require.Equal(t, 1, calls)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = retry(ctx, quiet, "answer", func(context.Context) (int, error) { return 0, apierrors.NewServiceUnavailable("no leader") })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no leader")

	impatient := retrier{log: logrus.New(), grace: 100 * time.Millisecond}
	webhook := apierrors.NewInternalError(errors.New("failed calling webhook"))
	_, err = retry(t.Context(), impatient, "answer", func(context.Context) (int, error) { return 0, webhook })
	require.ErrorIs(t, err, webhook, "a failure of the API server itself ends after the grace")
}
