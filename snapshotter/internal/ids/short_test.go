package ids

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShort(t *testing.T) {
	azure := "/subscriptions/0f3b1a52-7c2d-4e61-839b-0f5a7c2d4e61/resourceGroups/g/providers/Microsoft.Compute/snapshots/snapshot-9b0f5a7c"
	require.Equal(t, azure, Short(azure))
	require.Equal(t, "a\uFFFDb\uFFFDc\uFFFD", Short("a\nb\u202Ec\xff"))
	long := Short("begin" + strings.Repeat("ü", 16<<10) + "end")
	require.Less(t, len(long), 400)
	require.True(t, strings.HasPrefix(long, "begin"))
	require.True(t, strings.HasSuffix(long, "end (16392 characters)"))
}

// TestLongHandles carries handles of 16 KB, and shows none of them whole.
func TestLongHandles(t *testing.T) {
	id := snapshotIDs["the rest of it"]
	id.Handle = strings.Repeat("handle ", 16<<10/7)
	id.Group.Members = []string{id.Handle, strings.Repeat("x", 16<<10)}
	keys := keysOf(t, oldKey)
	text := keys.Sign(id)
	parsed, err := keys.Parse(text, true)
	require.NoError(t, err)
	require.Equal(t, id, parsed)
	for _, wrong := range []string{text + "x", text + "&a=b", "x" + text, strings.Replace(text, "v=2", "v=9", 1), strings.Replace(text, "%20", " ", 1)} {
		_, err := keys.Parse(wrong, true)
		require.Error(t, err)
		require.Less(t, len(err.Error()), 1000)
	}
}
