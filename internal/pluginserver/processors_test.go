package pluginserver

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProcessors(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
	t.Setenv("GOMAXPROCS", "")
	for all, large := range map[int]int{4: 4, 2: 1, 1: 1} {
		runtime.GOMAXPROCS(all)
		p := newProcessors()
		inUse := func(want int) {
			t.Helper()
			require.Equal(t, want, runtime.GOMAXPROCS(0), "of %d", all)
		}
		inUse(1)
		p.begin()
		inUse(1)
		p.begin()
		inUse(all)
		p.end()
		inUse(all) // One call after the other need not change it.
		p.end()
		inUse(1)
		p.begin()
		p.widen()
		inUse(large)
		p.end()
		inUse(1)
	}
	t.Setenv("GOMAXPROCS", "3")
	runtime.GOMAXPROCS(3)
	p := newProcessors()
	p.begin()
	require.Equal(t, 3, runtime.GOMAXPROCS(0), "the environment decides")
}
