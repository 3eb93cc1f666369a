package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// ownerVariable makes the test binary a program that owns a bed, for the test
// that kills it.
const ownerVariable = "LONGSHORE_TESTBED_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(ownerVariable) != "" {
		own()
	}
	os.Exit(m.Run())
}

// own starts a program that has a child, says so, and waits to be killed.
func own() {
	bed, err := New(Options{Dir: os.Getenv(ownerVariable)})
	if err != nil {
		fail(err)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		fail(err)
	}
	ready := bed.Dir() + "/child"
	process, err := bed.Start(background, Command{
		Name: "parent", Path: shell,
		Args:  []string{"-c", `trap "" TERM; sleep 600 & echo $! >` + ready + `; wait`},
		Ready: hasText(ready),
	})
	if err != nil {
		fail(err)
	}
	child, err := os.ReadFile(ready)
	if err != nil {
		fail(err)
	}
	fmt.Printf("%d %d %s", process.PID(), process.running().guard.group(), child)
	select {}
}

// realParts keeps a test that starts large programs out of a short run.
func realParts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers")
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
