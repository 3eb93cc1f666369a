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
	var children []int
	for pid, parent := range processesOf(t, program) {
		if parent == os.Getpid() {
			children = append(children, pid)
		}
	}
	return children
}

// processesOf returns the ids of all processes that run program, each with its
// parent's.
func processesOf(t testing.TB, program string) map[int]int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(t, err)
	found := map[int]int{}
	for _, link := range links {
		running, _ := os.Readlink(link)
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(link), "stat"))
		if running != program || err != nil {
			continue // another program, or it ended meanwhile
		}
		// pid (name) state parent ...
		_, after, _ := strings.Cut(string(stat), ") ")
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		require.NoError(t, err)
		parent, err := strconv.Atoi(strings.Fields(after)[1])
		require.NoError(t, err)
		found[pid] = parent
	}
	return found
}
