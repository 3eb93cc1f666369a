package heap

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// percent is what the garbage collector goes by now.
func percent() int {
	now := debug.SetGCPercent(100)
	debug.SetGCPercent(now)
	return now
}

// TestHold lowers the garbage from the first buffer to the last, leaves what was set
// before, and collects what was held.
func TestHold(t *testing.T) {
	before := debug.SetGCPercent(70)
	defer debug.SetGCPercent(before)
	for range 2 {
		Hold()
		Hold()
		require.Equal(t, garbage, percent())
		Release()
		require.Equal(t, garbage, percent(), "one is held")
		var collected, then runtime.MemStats
		runtime.ReadMemStats(&collected)
		Release()
		require.Equal(t, 70, percent())
		runtime.ReadMemStats(&then)
		require.Greater(t, then.NumGC, collected.NumGC)
	}
}
