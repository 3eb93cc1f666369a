package snapshotter

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

func TestClusterDriverFails(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	hasty := b.open(map[string]string{"errorGracePeriod": "3s"})
	rule := func(rule testbed.DriverRule) {
		require.NoError(t, b.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{rule}}))
	}

	t.Run("for ever", func(t *testing.T) {
		rule(testbed.DriverRule{Method: "CreateSnapshot", Code: "InvalidArgument", Message: "the array is full"})
		began := time.Now()
		_, err := hasty.CreateSnapshot(t.Context(), b.volumeID(pv), "", map[string]string{tagBackup: "full"})
		require.ErrorContains(t, err, "the array is full")
		require.ErrorContains(t, err, "failed for 3s")
		require.Less(t, time.Since(began), 20*time.Second)
		b.soonOnlySnapshots(before, 0)
	})
	t.Run("at first", func(t *testing.T) {
		rule(testbed.DriverRule{Method: "CreateSnapshot", Code: "Unavailable", Message: "throttled", Times: 2})
		b.keepAndDelete(before, pv, "at-first")
	})
	t.Run("slowly", func(t *testing.T) {
		rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "3s"})
		b.keepAndDelete(before, pv, "slowly")
	})
	t.Run("the answer is lost", func(t *testing.T) {
		rule(testbed.DriverRule{Method: "CreateSnapshot", Code: "DeadlineExceeded", After: true, Times: 1})
		b.keepAndDelete(before, pv, "lost")
	})
	require.NoError(t, b.ControlDriver(testbed.DriverControl{}))
	snapshot := b.snapshotOf(pv, "b1")
	t.Run("restoring for ever", func(t *testing.T) {
		rule(testbed.DriverRule{Method: "CreateVolume", Code: "FailedPrecondition", Message: "no space on the array"})
		_, err := hasty.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
		require.ErrorContains(t, err, "no space on the array")
		require.NoError(t, b.ControlDriver(testbed.DriverControl{}))
		b.sweepAll()
		b.soonOnlySnapshots(before, 1)
	})
	t.Run("deleting at first", func(t *testing.T) {
		rule(testbed.DriverRule{Method: "DeleteSnapshot", Code: "Unavailable", Message: "busy", Times: 2})
		require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
		b.onlySnapshots(before, 0)
	})
}

func TestClusterWaitFor(t *testing.T) {
	b := onCluster(t, map[string]string{"waitFor": "handle"})
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	require.NoError(t, b.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: "4s"}))

	began := time.Now()
	early := b.snapshotOf(pv, "early")
	require.Less(t, time.Since(began), 4*time.Second, "the handle is there at once")
	_, content := b.restoreAs(b.Snapshotter, early, pv, "early")
	require.Equal(t, "first", content)
	require.Greater(t, time.Since(began), 4*time.Second, "a restore waits until it can")

	began = time.Now()
	late, err := b.open(map[string]string{"waitFor": "ready"}).CreateSnapshot(t.Context(), b.volumeID(pv), "", map[string]string{tagBackup: "late"})
	require.NoError(t, err)
	require.Greater(t, time.Since(began), 4*time.Second)

	require.NoError(t, b.ControlDriver(testbed.DriverControl{}))
	require.NoError(t, b.DeleteSnapshot(t.Context(), early))
	require.NoError(t, b.DeleteSnapshot(t.Context(), late))
}

// keepAndDelete takes a snapshot, demands that it is the only one, and deletes it.
func (b *bench) keepAndDelete(before testbed.Leftovers, pv *pvType, backup string) {
	b.Helper()
	snapshot := b.snapshotOf(pv, backup)
	b.onlySnapshots(before, 1)
	require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
	b.onlySnapshots(before, 0)
}

// TestClusterPartsAway: whatever part is away for a while, the call goes on when
// it is back.
func TestClusterPartsAway(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	for _, part := range []testbed.Part{testbed.KubeAPIServer, testbed.SnapshotController, testbed.CSISnapshotter, testbed.CSIProvisioner} {
		t.Run(part.Name, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.open(nil), namespace: b.namespace}
			snapshot := b.without(part, func() string { return b.snapshotOf(pv, part.Name) })
			restored := b.without(part, func() string {
				id, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
				require.NoError(t, err)
				return id
			})
			_, content := b.adopt(b.Snapshotter, restored, pv, "restored-"+part.Name)
			require.Equal(t, "first", content)
			b.without(part, func() string {
				require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
				return ""
			})
			b.soonOnlySnapshots(before, 0)
		})
	}
}

// without runs work while a part of the cluster is away, and brings it back.
func (b *bench) without(part testbed.Part, work func() string) string {
	b.Helper()
	require.NoError(b, b.Process(part.Name).Kill())
	var back sync.WaitGroup
	back.Go(func() {
		timer := time.NewTimer(time.Second)
		defer timer.Stop()
		<-timer.C
		if err := b.Process(part.Name).Restart(context.Background()); err != nil {
			b.Errorf("restart %s: %v", part.Name, err)
		}
	})
	result := work()
	back.Wait()
	return result
}

// TestClusterManyAtOnce: calls run in parallel, and two restores of one snapshot
// do not meet.
func TestClusterManyAtOnce(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	const volumes = 8
	pvs, snapshots := make([]*pvType, volumes), make([]string, volumes)
	for i := range pvs {
		pvs[i] = b.claimed(testbed.ClaimOptions{Name: fmt.Sprintf("data-%d", i)}, fmt.Sprintf("content %d", i))
	}
	began := time.Now()
	inParallel(volumes, func(i int) { snapshots[i] = b.snapshotOf(pvs[i], "many") })
	t.Logf("%d snapshots in %s", volumes, time.Since(began))
	b.onlySnapshots(before, volumes)

	began = time.Now()
	ids := make([]string, volumes+1)
	inParallel(volumes+1, func(i int) {
		id, err := b.CreateVolumeFromSnapshot(t.Context(), snapshots[i%volumes], pvs[i%volumes].Spec.StorageClassName, "", nil)
		if err != nil {
			t.Errorf("restore %d: %v", i, err)
		}
		ids[i] = id
	})
	t.Logf("%d restores in %s", volumes+1, time.Since(began))
	require.NotEqual(t, ids[0], ids[volumes])
	for i, id := range ids {
		_, content := b.adopt(b.Snapshotter, id, pvs[i%volumes], fmt.Sprintf("restored-%d", i))
		require.Equal(t, fmt.Sprintf("content %d", i%volumes), content)
	}
	began = time.Now()
	inParallel(volumes, func(i int) {
		if err := b.DeleteSnapshot(t.Context(), snapshots[i]); err != nil {
			t.Errorf("delete %d: %v", i, err)
		}
	})
	t.Logf("%d deletions in %s", volumes, time.Since(began))
	b.soonOnlySnapshots(before, 0)
}

func inParallel(n int, work func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { work(i) })
	}
	all.Wait()
}
