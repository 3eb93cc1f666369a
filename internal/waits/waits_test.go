package waits

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
)

// TestWatch tells of a wait after some seconds and then once a minute, and ends it.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var told []time.Duration
		ended := make(chan time.Duration, 1)
		w := &Watch{
			First: FirstNotice,
			Tell: func(step string, waited, limit time.Duration) {
				require.Equal(t, "bytes", step)
				require.Equal(t, 3*time.Minute, limit)
				require.Zero(t, time.Since(begun)-waited)
				told = append(told, waited)
			},
			End: func(step string, limit time.Duration) { ended <- limit },
		}
		w.Expect("bytes", 3*time.Minute)
		require.Equal(t, 3*time.Minute, <-ended)
		require.Equal(t, 3*time.Minute, time.Since(begun))
		require.Equal(t, []time.Duration{15 * time.Second, 75 * time.Second, 135 * time.Second}, told)

		w.Expect("bytes", time.Second)
		time.Sleep(time.Minute)
		require.Empty(t, ended, "it has ended already")
	})
}

// TestWatchOfSteps counts the time of each step, and none between them.
func TestWatchOfSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Watch{
			First: FirstNotice,
			Tell:  func(string, time.Duration, time.Duration) { t.Error("no step lasted that long") },
			End:   func(string, time.Duration) { t.Error("no step reached its limit") },
		}
		w.Pause()
		for range 10 {
			w.Expect("bytes", 2*FirstNotice)
			time.Sleep(FirstNotice - 1)
			w.Expect("more bytes", 2*FirstNotice)
			time.Sleep(FirstNotice - 1)
			w.Pause()
			time.Sleep(time.Hour)
		}
		w.Stop()
		w.Expect("bytes", time.Second)
		time.Sleep(time.Hour)
	})
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, told := logrustest.NewNullLogger()
		q := NewQueue(10)
		require.NoError(t, q.Acquire(t.Context(), 8, log, "Waiting for ", "three"))

		begun := time.Now()
		time.AfterFunc(20*time.Second, func() { q.Release(8) })
		require.NoError(t, q.Acquire(t.Context(), 3, log, "Waiting for ", "three"))
		require.Equal(t, 20*time.Second, time.Since(begun))
		require.Len(t, told.AllEntries(), 1)
		require.Equal(t, "Waiting for three", told.LastEntry().Message)
		require.Equal(t, "15s", told.LastEntry().Data["waitedFor"])
		require.Equal(t, "4h0m0s", told.LastEntry().Data["endsAfter"])

		begun = time.Now()
		err := q.Acquire(t.Context(), 8, log, "Waiting for ", "eight")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "gave up after 4h0m0s of waiting for eight")
		require.Equal(t, 4*time.Hour, time.Since(begun))
		require.Len(t, told.AllEntries(), 1+4*60)

		left := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(left) })
		require.Equal(t, left, q.Acquire(ctx, 8, log, "Waiting for ", "eight"))
		q.Release(3)
		require.NoError(t, q.Acquire(t.Context(), 10, log, "Waiting for ", "all of it"), "no wait that was given up has kept anything")
	})
}
