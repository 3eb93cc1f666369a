package testbed

import (
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
