package snapshotter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterDriverOutlastsSidecars: a driver that takes longer than the ten
// seconds for which a sidecar waits is asked again, and nothing is made twice.
func TestClusterDriverOutlastsSidecars(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "5s"})
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	slow := func(method string) {
		b.rule(testbed.DriverRule{Method: method, Delay: "11s", Times: 1})
	}
	slow("CreateSnapshot")
	snapshot := b.snapshotOf(pv, "b1")
	b.onlySnapshots(before, 1)
	slow("CreateVolume")
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	slow("DeleteSnapshot")
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.soonOnlySnapshots(before, 0)
	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.Len(t, now.StorageVolumes, len(before.StorageVolumes)+2, "the claim's and the restored one's")
}

// TestClusterDriverFailsAgain: a restore outlasts errors of the driver, a deletion
// does not call done what is not, and can be repeated.
func TestClusterDriverFailsAgain(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	for name, rule := range map[string]testbed.DriverRule{
		"errors":      {Method: "CreateVolume", Code: "Unavailable", Message: "throttled", Times: 2},
		"lost-answer": {Method: "CreateVolume", Code: "DeadlineExceeded", After: true, Times: 1},
	} {
		b.rule(rule)
		_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "after-"+name)
		require.Equal(t, "first", content)
	}
	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.Len(t, now.StorageVolumes, len(before.StorageVolumes)+3, "the claim's and the two restored ones'")

	b.rule(testbed.DriverRule{Method: "DeleteSnapshot", Code: "Internal", Message: "the array is locked"})
	began := time.Now()
	err = b.open(map[string]string{"deleteTimeout": "5s"}).DeleteSnapshot(t.Context(), snapshot)
	t.Logf("after %s: %v", time.Since(began), err)
	require.ErrorContains(t, err, testbed.DriverName)
	require.Less(t, time.Since(began), 15*time.Second)
	left, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.Len(t, left.StorageSnapshots, len(before.StorageSnapshots)+1)
	b.normalDriver()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.soonOnlySnapshots(before, 0)
}
