package upload

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// TestMemoryLimit has more uploads than there is memory for: together they never
// hold more than the limit, and all of them get on.
func TestMemoryLimit(t *testing.T) {
	const limit, size = 35 << 10, 5 << 10
	m := newMemory(limit, logrus.New())
	var held, most atomic.Int64
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			for range 20 {
				b, err := m.take(t.Context(), size)
				require.NoError(t, err)
				now := held.Add(size)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				time.Sleep(time.Microsecond * 50)
				held.Add(-size)
				b.release()
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, most.Load(), int64(limit))
	require.Greater(t, most.Load(), int64(limit/2), "the uploads were to compete")
	require.Zero(t, m.inUse)
	require.Empty(t, m.spare, "nothing is kept when nothing is under way")
}

// TestPartLargerThanTheLimit is held alone.
func TestPartLargerThanTheLimit(t *testing.T) {
	m := newMemory(100, logrus.New())
	small, err := m.take(t.Context(), 10)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = m.take(ctx, 1000)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	small.release()
	large, err := m.take(t.Context(), 1000)
	require.NoError(t, err)
	require.Len(t, large.bytes, 1000)
	large.release()
}

// TestSpareBuffers keeps no buffer beside one of another size.
func TestSpareBuffers(t *testing.T) {
	m := newMemory(100, logrus.New())
	first, err := m.take(t.Context(), 40)
	require.NoError(t, err)
	second, err := m.take(t.Context(), 40)
	require.NoError(t, err)
	second.release()
	again, err := m.take(t.Context(), 40)
	require.NoError(t, err)
	require.Same(t, second, again)
	again.release()
	other, err := m.take(t.Context(), 60)
	require.NoError(t, err)
	require.Empty(t, m.spare)
	first.release()
	other.release()
}
