package verify

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNowhere wants handles that look like those of drivers, and are others.
func TestNowhere(t *testing.T) {
	for handle, form := range map[string]string{
		"snap-0123456789abcdef0": `^snap-01234[0-9]{5}[a-f]{6}[0-9]$`,
		"projects/p1/global/snapshots/snapshot-6f1c8f5e-0d0a-4f2c-9a56-0e2b1f3c4d5e": `^projects/p1/global/snapshots/snapshot-6f1c8f5e-0d0a-4f2c-9a56-[0-9a-f]{12}$`,
		"0001-0009-rook-ceph-0000000000000002-AAAA1111":                              `^0001-0009-rook-ceph-000000000000[0-9]{4}-[A-F]{4}[0-9]{4}$`,
		"tank/data@daily": `^tank/data@daily-[0-9a-f]{24}$`,
		"1234567":         `^1234567-[0-9a-f]{24}$`,
	} {
		for range 20 {
			other := nowhere(handle)
			require.Regexp(t, form, other)
			require.NotEqual(t, handle, other)
		}
	}
}
