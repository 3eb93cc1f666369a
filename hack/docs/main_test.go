package main

import (
	"cmp"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

func TestReferenceIsUpToDate(t *testing.T) {
	written, err := os.ReadFile("../../" + path)
	require.NoError(t, err)
	require.Equal(t, reference(), string(written), "run: go run ./hack/docs")
}

// TestEveryKeyHasItsGroup wants each key in one group, and each value in the
// annotated location to be one that the key takes.
func TestEveryKeyHasItsGroup(t *testing.T) {
	for _, kind := range []struct {
		groups   []group
		defaults func() any
	}{
		{objectStoreGroups, func() any { s := objectstore.Default(); return &s }},
		{snapshotterGroups, func() any { s := snapshotter.DefaultSettings(); return &s }},
	} {
		rows := byKey(settings.Rows(kind.defaults()))
		grouped := map[string]bool{}
		for _, g := range kind.groups {
			for _, s := range g.keys {
				require.False(t, grouped[s.key], "%s stands twice", s.key)
				require.Contains(t, rows, s.key)
				grouped[s.key] = true
				if g.title != byVelero {
					requireTaken(t, kind.defaults(), s, rows)
				}
			}
		}
		require.Len(t, grouped, len(rows), "every key has its group")
	}
}

// requireTaken decodes the value alone: what it says of other keys is no matter
// here.
func requireTaken(t *testing.T, into any, s setting, rows map[string]settings.Row) {
	t.Helper()
	key, value := cmp.Or(families[s.key], s.key), s.value(rows)
	require.NotEmpty(t, value, "%s needs a value to show", key)
	if err := settings.Decode(map[string]string{key: value}, into); err != nil {
		require.NotContains(t, err.Error(), value+"\" is not accepted")
		require.NotContains(t, err.Error(), "unknown")
	}
}
