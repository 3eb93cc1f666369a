package snapshotter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// groupAfterTheFirst lets the driver take the group, and then answer with an error.
func groupAfterTheFirst(code, message string) []testbed.DriverRule {
	return []testbed.DriverRule{
		{Method: "CreateVolumeGroupSnapshot", Delay: "1ms", Times: 1},
		{Method: "CreateVolumeGroupSnapshot", Code: code, Message: message},
	}
}

// followGroup takes a group as one that Velero follows, while the storage works on it
// until a time after its creation, and the driver does as the rules say. It returns the
// IDs of the snapshots and of their operation.
func (b *bench) followGroup(pvs []*pvType, backup, ready string, rules ...testbed.DriverRule) (snapshots []string, operation string) {
	b.Helper()
	require.NoError(b, b.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: ready, Rules: rules}))
	s := b.WithOperations(NewOperations(time.Now()))
	for _, pv := range pvs {
		of, err := s.Follow(b.Context(), backup, marshal(b.T, pv))
		require.NoError(b, err)
		snapshot, err := s.CreateSnapshot(b.Context(), b.volumeID(pv), "", map[string]string{tagBackup: backup, "velero.io/pv": pv.Name})
		require.NoError(b, err)
		require.NotEmpty(b, of)
		if operation != "" {
			require.Equal(b, operation, of, "all volumes of the group have one operation")
		}
		snapshots, operation = append(snapshots, snapshot), of
	}
	standing := b.groupContents(b.Context())
	require.Len(b, standing, 1, "the storage was done at once")
	require.False(b, standing[0].Status.ReadyToUse)
	require.Len(b, standing[0].Status.Snapshots, 2, "csi-snapshotter tells the members when the group is taken")
	return snapshots, operation
}

// TestClusterFollowGroup takes groups as one that the storage finishes, or does not, when
// the backup has their snapshots already.
func TestClusterFollowGroup(t *testing.T) {
	config := map[string]string{"waitFor": "ready", "errorGracePeriod": "2s", "groups": GroupsRequire}
	shared := onCluster(t, config)
	shared.defineVelero()
	shared.takesGroups()
	before, err := shared.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := shared.grouped(veleroGroup, "one", "two")
	run := func(name string, test func(b *bench, backup string)) {
		t.Run(name, func(t *testing.T) {
			b := &bench{T: t, Cluster: shared.Cluster, Snapshotter: shared.Snapshotter, namespace: shared.namespace}
			test(b, b.backsUp(veleroGroup))
			require.NoError(t, shared.ControlDriver(testbed.DriverControl{}))
		})
	}

	run("an error passes, and the storage finishes", func(b *bench, backup string) {
		snapshots, operation := b.followGroup(pvs, backup, "5s", groupAfterTheFirst("Internal", "the upload has broken off")...)
		b.progressed(operation, "the error to be asked about", func(p Progress) bool {
			require.False(b, p.Done)
			return len(b.groupContents(b.Context())) == 2
		})
		require.NoError(b, b.ControlDriver(testbed.DriverControl{}))
		require.Empty(b, b.progressed(operation, "the storage to finish", done).Failure)
		b.onlySnapshots(before, 2)
		require.Empty(b, b.groupContents(b.Context()))
		require.Equal(b, Progress{Done: true}, b.progressed(operation, "the same as before", done))
		b.requireDeleted(snapshots...)
		b.soonOnlySnapshots(before, 0)
	})
	run("the storage fails", func(b *bench, backup string) {
		snapshots, operation := b.followGroup(pvs, backup, "1h", groupAfterTheFirst("InvalidArgument", "the upload was refused")...)
		p := b.progressed(operation, "the failure", done)
		require.Contains(b, p.Failure, "has failed since it took the point in time")
		require.Contains(b, p.Failure, "the upload was refused")
		b.soonOnlySnapshots(before, 2) // the backup has them
		b.soonNoGroupContents()
		require.Equal(b, p.Failure, b.progressed(operation, "the same as before", done).Failure, "of the other volume")
		b.requireDeleted(snapshots...)
		require.Empty(b, b.writtenFor(backup))
		b.endsAs(backup, phasePartiallyFailed)
		b.sweepAll()
	})
	run("the backup is deleted", func(b *bench, backup string) {
		snapshots, operation := b.followGroup(pvs, backup, "1h")
		p, err := b.Progress(b.Context(), operation)
		require.NoError(b, err)
		require.False(b, p.Done)
		require.Contains(b, p.State, "works on group")
		require.Contains(b, p.State, "handle known true, snapshots 2, ready false")
		deletions := b.driverCalls("DeleteVolumeGroupSnapshot")
		b.requireDeleted(snapshots[0])
		b.onlySnapshots(before, 0)
		require.Empty(b, b.groupContents(b.Context()))
		b.requireDeleted(snapshots[1])
		require.Equal(b, deletions+1, b.driverCalls("DeleteVolumeGroupSnapshot"))
	})
	run("the backup ends", func(b *bench, backup string) {
		snapshots, _ := b.followGroup(pvs[:1], backup, "1h")
		other := b.open(config) // as if the plugin had died
		second, err := other.CreateSnapshot(b.Context(), b.volumeID(pvs[1]), "", map[string]string{tagBackup: backup})
		require.NoError(b, err)
		require.Len(b, b.groupContents(b.Context()), 1, "Velero still asks")
		found, err := b.later().FindLeftovers(b.Context())
		require.NoError(b, err)
		require.Empty(b, found, "Velero still asks")
		b.endsAs(backup, phasePartiallyFailed)
		found, err = b.later().Sweep(b.Context())
		require.NoError(b, err)
		require.Len(b, found, 2, "the content, and what is told if that goes too early")
		require.Equal(b, "ConfigMap", found[0].Kind)
		require.Contains(b, found[1].Remedy, "the group stays in the storage")
		require.Empty(b, b.groupContents(b.Context()))
		b.onlySnapshots(before, 2)
		b.requireDeleted(append(snapshots, second)...)
		b.onlySnapshots(before, 0)
	})
}
