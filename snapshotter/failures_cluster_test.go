package snapshotter

import (
	"context"
	"net/http"
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterDeletionThatFailed: Velero is told that the snapshot was not deleted, and has
// the backup still. Nothing ends the deletion later, and the backup can be restored.
func TestClusterDeletionThatFailed(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	snapshot := b.snapshotOf(pv, "b1")
	b.rule(testbed.DriverRule{Method: "ListSnapshots", Code: "Internal", Message: "the storage is away"})
	err = b.open(map[string]string{"deleteTimeout": "3s"}).DeleteSnapshot(t.Context(), snapshot)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "the storage is away")
	b.normalDriver()
	b.sweepAll()
	b.onlySnapshots(before, 1)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.onlySnapshots(before, 0)
}

// TestClusterErrorThatPassed: csi-snapshotter leaves an error in the status until the
// snapshot is ready, also when the driver has taken it meanwhile.
func TestClusterErrorThatPassed(t *testing.T) {
	b := onCluster(t, map[string]string{"waitFor": WaitForReady, "errorGracePeriod": "3s"})
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	calls := b.driverCalls("CreateSnapshot")
	require.NoError(t, b.ControlDriver(testbed.DriverControl{
		Rules:              []testbed.DriverRule{{Method: "CreateSnapshot", Code: "FailedPrecondition", Message: "the volume is being resized", Times: 1}},
		SnapshotReadyDelay: "10s",
	}))
	began := time.Now()
	snapshot := b.snapshotOf(pv, "b1")
	require.Greater(t, time.Since(began), 8*time.Second)
	require.Greater(t, b.driverCalls("CreateSnapshot"), calls+1)
	b.normalDriver()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterSnapshotNeverAnswered: the API does what it is asked for, and the call does not
// live to hear it. What was made is removed at once, and a snapshot that stays is known.
func TestClusterSnapshotNeverAnswered(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	for method, stays := range map[string]int{http.MethodPost: 0, http.MethodDelete: 1} {
		t.Run(method, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.Snapshotter, namespace: b.namespace}
			p, lost := b.apiProxy(), 0
			p.loses = true
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p.after = func(r *http.Request) {
				collection := r.URL.Path
				if method != http.MethodPost {
					collection = path.Dir(collection)
				}
				if r.Method == method && path.Base(collection) == "volumesnapshotcontents" && ctx.Err() == nil {
					lost++
					cancel()
				}
			}
			_, err := b.openVia(p).CreateSnapshot(ctx, b.volumeID(pv), "", map[string]string{tagBackup: "b1"})
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 1, lost)
			b.soonOnlySnapshots(before, stays)
			pages, err := b.journal().Pages(t.Context())
			require.NoError(t, err)
			known := 0
			for _, page := range pages {
				known += len(page.IDs)
				for _, id := range page.IDs {
					require.NoError(t, b.DeleteSnapshot(t.Context(), id))
				}
			}
			require.Equal(t, stays, known)
			require.NoError(t, b.forgetAll(t.Context()))
		})
	}
}

// TestClusterRestoreNeverAnswered: no StorageClass stays of a restore that did not live to
// hear that it was made.
func TestClusterRestoreNeverAnswered(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	p := b.apiProxy()
	p.loses = true
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.after = func(r *http.Request) {
		if r.Method == http.MethodPost && path.Base(r.URL.Path) == "storageclasses" {
			cancel()
		}
	}
	_, err = b.openVia(p).CreateVolumeFromSnapshot(ctx, snapshot, pv.Spec.StorageClassName, "", nil)
	require.ErrorIs(t, err, context.Canceled)
	b.soonOnlySnapshots(before, 0)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
