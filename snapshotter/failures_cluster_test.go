package snapshotter

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
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
	err = b.open(map[string]string{"deleteTimeout": "8s"}).DeleteSnapshot(t.Context(), snapshot)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "the storage is away")
	b.normalDriver()
	b.sweepAll()
	b.onlySnapshots(before, 1)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.soonOnlySnapshots(before, 0)
}

// TestClusterKilledDeletionIsNeeded: no sweep ends the deletion of a killed call while a
// restore needs the snapshot, or one of its group. A later sweep does.
func TestClusterKilledDeletionIsNeeded(t *testing.T) {
	for _, asOne := range []bool{false, true} {
		t.Run(fmt.Sprintf("as one %t", asOne), func(t *testing.T) {
			b := onCluster(t, map[string]string{"errorGracePeriod": "4s"})
			b.defineVelero()
			before, err := b.Leftovers(t.Context())
			require.NoError(t, err)
			pvs, left := b.grouped(veleroGroup, "one", "two"), 1
			if asOne {
				b.takesGroups()
				left = 0
			}
			backup := b.backsUp(veleroGroup)
			snapshot := b.snapshotOf(pvs[0], backup)
			written := b.writtenFor(backup)
			require.Len(t, written, 2)
			b.diesDeleting(snapshot)

			b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "8s"})
			restores := *b.Snapshotter
			restores.now = func() time.Time { return time.Now().Add(4 * pendingTime) } // it has not ended for b.later
			var volume string
			var swept error
			sweeps := func() error { _, swept = b.later().Sweep(b.background()); return nil }
			b.meanwhile(objects.Restore, sweeps, func() {
				volume, err = restores.CreateVolumeFromSnapshot(t.Context(), snapshot, pvs[0].Spec.StorageClassName, "", nil)
			})
			require.NoError(t, err)
			require.ErrorContains(t, swept, "is of the same")
			_, content := b.adopt(&restores, volume, pvs[0], "restored")
			require.Equal(t, "first", content)
			b.normalDriver()
			b.sweepAll()
			b.soonOnlySnapshots(before, left)
			b.requireDeleted(written...)
		})
	}
}

// diesDeleting is a call that dies when it has made what asks for the deletion.
func (b *bench) diesDeleting(snapshot string) {
	b.Helper()
	snapshotter := b.Process(testbed.CSISnapshotter.Name)
	require.NoError(b, snapshotter.Signal(syscall.SIGSTOP))
	defer func() { require.NoError(b, snapshotter.Signal(syscall.SIGCONT)) }()
	require.True(b, b.killed(5*time.Second, "delete", snapshot, ""))
}

// TestClusterErrorThatPassed: csi-snapshotter leaves an error in the status until the
// snapshot is ready, also when the driver has taken it meanwhile.
func TestClusterErrorThatPassed(t *testing.T) {
	b := onCluster(t, map[string]string{"waitFor": WaitForReady, "errorGracePeriod": "6s"})
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

// TestClusterWarningThatPassed: the warning of a claim stays where it is while the driver
// makes the volume after all, for longer than it may fail.
func TestClusterWarningThatPassed(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "1s"})
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	require.NoError(t, b.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{
		{Method: "CreateVolume", Code: "FailedPrecondition", Message: "the pool is being resized", Times: 1},
		{Method: "CreateVolume", Delay: "9s", Times: 1},
	}}))
	began := time.Now()
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.Equal(t, []string{"FailedPrecondition", "OK"}, b.volumesAsked(began))

	b.rule(testbed.DriverRule{Method: "CreateVolume", Code: "FailedPrecondition", Message: "the pool is full", Delay: "2s"})
	_, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	require.ErrorContains(t, err, "without success")
	require.ErrorContains(t, err, "the pool is full")
	b.normalDriver()
	b.sweepAll()
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
