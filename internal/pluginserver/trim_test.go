//go:build linux

package pluginserver

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTrim(t *testing.T) {
	before := residentFile(t)
	require.NoError(t, trim())
	require.Less(t, residentFile(t), before)
}

// residentFile is the size, in kB, of the resident pages of files.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	found := regexp.MustCompile(`RssFile:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, found)
	size, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return size
}
