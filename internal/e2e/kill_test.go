package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// killPlugins sends SIGKILL to every process of the program that this process
// has started, and waits for their end.
func killPlugins(t *testing.T, program string) {
	t.Helper()
	children := childProcesses(t, program)
	require.NotEmpty(t, children)
	for _, pid := range children {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	require.Eventually(t, func() bool { return len(childProcesses(t, program)) == 0 }, 5*time.Second, 10*time.Millisecond)
}

// childProcesses returns the ids of this process's children that run program.
func childProcesses(t testing.TB, program string) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	var children []int
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state parent ...
		_, after, _ := strings.Cut(string(content), ") ")
		fields := strings.Fields(after)
		running, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		if running == program && fields[0] != "Z" && fields[1] == strconv.Itoa(os.Getpid()) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(t, err)
			children = append(children, pid)
		}
	}
	return children
}
