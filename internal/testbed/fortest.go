package testbed

import (
	"os"
	"testing"
)

// tailLines is how much of each log a failed test shows.
const tailLines = 25

// ForTest makes a bed that ends with the test. When the test failed, the tail of
// every log is printed and the folder is kept and named.
func ForTest(t testing.TB) *Bed {
	t.Helper()
	bed, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			bed.Keep()
			t.Logf("the testbed is kept in %s\n%s", bed.Dir(), bed.Tails(tailLines))
		}
		if err := bed.Close(); err != nil {
			t.Errorf("close the testbed: %v", err)
		}
	})
	return bed
}

// RequirePart leaves a test out where the part cannot be had, and says why. In CI
// (the variable CI is set) that is a failure: there no test may be left out.
func RequirePart(t testing.TB, p Part) {
	t.Helper()
	leaveOut(t, p.Possible())
}

// RequireDisk is RequirePart for a Disk.
func RequireDisk(t testing.TB) {
	t.Helper()
	leaveOut(t, diskPossible(t.Context(), t.TempDir()))
}

func leaveOut(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}
