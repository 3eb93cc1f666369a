package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var background = context.Background()

// hasText is a probe that is content with a file that is not empty.
func hasText(file string) func(context.Context) error {
	return func(context.Context) error {
		text, err := os.ReadFile(file)
		if err == nil && len(text) == 0 {
			return fmt.Errorf("%s is empty", file)
		}
		return err
	}
}

func TestKilledOwnerLeavesNoProcess(t *testing.T) {
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), ownerVariable+"="+t.TempDir())
	owner.Stderr = os.Stderr
	out, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	t.Cleanup(func() { _ = owner.Process.Kill() })

	var parent, guard, child int
	_, err = fmt.Fscan(bufio.NewReader(out), &parent, &guard, &child)
	require.NoError(t, err)
	for _, pid := range []int{parent, guard, child} {
		require.NoError(t, syscall.Kill(pid, 0), "process %d should run", pid)
	}

	require.NoError(t, owner.Process.Kill())
	require.Error(t, owner.Wait())
	for _, pid := range []int{parent, guard, child} {
		requireGone(t, pid)
	}
}

// requireGone waits for a process's end. One that nobody waited for yet is gone
// too.
func requireGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && strings.Contains(string(stat), ") Z ")
	}, 5*time.Second, 10*time.Millisecond, "process %d is still there", pid)
}

func TestStopEndsTheWholeGroup(t *testing.T) {
	bed := ForTest(t)
	file := filepath.Join(bed.Dir(), "child")
	p, err := bed.Start(t.Context(), Command{
		Name: "parent", Path: "/bin/sh", Args: []string{"-c", "sleep 600 & echo $! >" + file + "; wait"},
		Ready: hasText(file),
	})
	require.NoError(t, err)
	var child int
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	_, err = fmt.Sscan(string(text), &child)
	require.NoError(t, err)
	parent := p.PID()

	require.NoError(t, p.Stop())
	requireGone(t, parent)
	requireGone(t, child)
	require.ErrorContains(t, p.Stop(), "not running")
}

func TestFailedStartShowsTheLog(t *testing.T) {
	bed := ForTest(t)
	_, err := bed.Start(t.Context(), Command{
		Name: "broken", Path: "/bin/sh", Args: []string{"-c", "echo the disk is on fire; exit 3"},
		Ready: func(context.Context) error { return errors.New("silent") },
	})
	require.ErrorContains(t, err, "start broken")
	require.ErrorContains(t, err, "the disk is on fire")
	require.ErrorContains(t, err, "exit status 3")
}

func TestStartThatNeverGetsReadySaysWhatTheProbeSaw(t *testing.T) {
	bed := ForTest(t)
	_, err := bed.Start(t.Context(), Command{
		Name: "slow", Path: "/bin/sh", Args: []string{"-c", "echo thinking; exec sleep 600"},
		Ready:        func(context.Context) error { return errors.New("no answer on port 1") },
		ReadyTimeout: 200 * time.Millisecond,
	})
	require.ErrorContains(t, err, "not ready after 200ms")
	require.ErrorContains(t, err, "no answer on port 1")
	require.ErrorContains(t, err, "thinking")
}

func TestRestartAppendsToTheLog(t *testing.T) {
	bed := ForTest(t)
	p, err := bed.Start(t.Context(), Command{
		Name: "counter", Path: "/bin/sh", Args: []string{"-c", "echo run; exec sleep 600"},
		Ready: hasText(filepath.Join(bed.Dir(), "logs", "counter.log")),
	})
	require.NoError(t, err)
	first := p.PID()
	require.NoError(t, p.Restart(t.Context()))
	require.NotEqual(t, first, p.PID())
	require.Eventually(t, func() bool { return p.Tail(9) == "run\nrun" }, 5*time.Second, 10*time.Millisecond)
}

func TestRespawnOnlyWhatEndedByItself(t *testing.T) {
	bed := ForTest(t)
	p, err := bed.Start(t.Context(), Command{
		Name: "respawned", Path: "/bin/sh", Args: []string{"-c", "exec sleep 600"}, Respawn: true,
	})
	require.NoError(t, err)
	first := p.PID()
	require.NoError(t, p.Signal(syscall.SIGKILL))
	require.Eventually(t, func() bool { return p.PID() != 0 && p.PID() != first }, 5*time.Second, 10*time.Millisecond)

	require.NoError(t, p.Kill())
	require.Never(t, func() bool { return p.PID() != 0 }, 2*respawnPause, 10*time.Millisecond)
	require.NoError(t, p.Start(t.Context()))
	require.NotZero(t, p.PID())
}

// A port may be taken between its choice and the program's start.
func TestStartTriesOtherPortsWhenOneIsTaken(t *testing.T) {
	bed := ForTest(t)

	tries := 0
	p, err := bed.startOnPorts(t.Context(), "listener", 1, func(ports []int) Command {
		tries++
		if tries == 1 {
			return Command{Path: "/bin/sh", Args: []string{"-c", "echo bind: address already in use; exit 1"}, Ready: never}
		}
		return Command{Path: "/bin/sh", Args: []string{"-c", "exec sleep 600"}}
	})
	require.NoError(t, err)
	require.Equal(t, 2, tries)
	require.NotZero(t, p.PID())
}

// Another program may take the port of one that is away for a moment.
func TestRestartWaitsForItsPort(t *testing.T) {
	bed := ForTest(t)
	taken := filepath.Join(bed.Dir(), "taken")
	p, err := bed.Start(t.Context(), Command{
		Name: "listener", Path: "/bin/sh",
		Args:  []string{"-c", "rm " + taken + " 2>/dev/null && { echo bind: address already in use; exit 1; }; echo up; exec sleep 600"},
		Ready: hasText(filepath.Join(bed.Dir(), "logs", "listener.log")),
	})
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	require.NoError(t, os.WriteFile(taken, nil, 0o600))
	p.command.Ready = func(context.Context) error {
		if p.running() == nil || !strings.HasSuffix(p.Tail(9), "in use\nup") {
			return errStopped
		}
		return nil
	}
	require.NoError(t, p.Start(t.Context()))
	require.NotZero(t, p.PID())
}

func never(context.Context) error { return errors.New("never ready") }

func TestOneProcessOfAName(t *testing.T) {
	bed := ForTest(t)
	sleep := Command{Name: "sleep", Path: "/bin/sh", Args: []string{"-c", "exec sleep 600"}}
	_, err := bed.Start(t.Context(), sleep)
	require.NoError(t, err)
	_, err = bed.Start(t.Context(), sleep)
	require.ErrorContains(t, err, "has one of this name already")
}

func TestCloseRemovesTheFolderUnlessKept(t *testing.T) {
	for _, keep := range []bool{true, false} {
		bed, err := New(Options{Dir: t.TempDir(), Keep: keep})
		require.NoError(t, err)
		require.NoError(t, bed.Close())
		there, err := exists(bed.Dir())
		require.NoError(t, err)
		require.Equal(t, keep, there)
		_, err = bed.Start(t.Context(), Command{Name: "late", Path: "/bin/true"})
		require.ErrorContains(t, err, "closed")
	}
}
