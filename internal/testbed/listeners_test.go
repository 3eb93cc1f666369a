package testbed

import (
	"context"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPortOfAStranger: a program is not ready because another one answers in its
// place.
func TestPortOfAStranger(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells who listens")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	taken := listener.Addr().(*net.TCPAddr).Port

	bed := ForTest(t)
	p, err := bed.Start(t.Context(), Command{Name: "sleeper", Path: "/bin/sleep", Args: []string{"60"}})
	require.NoError(t, err)
	answers := func(context.Context) error { return nil }
	require.ErrorContains(t, p.onOwnPorts(answers, []int{taken})(t.Context()), "was taken by process")
	require.NoError(t, strangersOn([]int{taken}, syscall.Getpgrp()), "process %d is no stranger to itself", os.Getpid())
	require.NoError(t, listener.Close())
	require.NoError(t, p.onOwnPorts(answers, []int{taken})(t.Context()))
	require.NoError(t, p.Stop())
	require.ErrorIs(t, p.onOwnPorts(answers, []int{taken})(t.Context()), errStopped)
}
