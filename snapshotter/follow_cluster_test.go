package snapshotter

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// afterTheFirst lets the driver take the point in time, and then answer with an error.
func afterTheFirst(code, message string) []testbed.DriverRule {
	return []testbed.DriverRule{
		{Method: "CreateSnapshot", Delay: "1ms", Times: 1},
		{Method: "CreateSnapshot", Code: code, Message: message},
	}
}

// follow takes a snapshot that Velero follows, while the storage works on it until a
// time after its creation, and the driver does as the rules say. It returns the IDs of
// the snapshot and of the operation.
func (b *bench) follow(pv *pvType, backup, ready string, rules ...testbed.DriverRule) (snapshot, operation string) {
	b.Helper()
	require.NoError(b, b.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: ready, Rules: rules}))
	s := b.WithOperations(NewOperations(time.Now()))
	operation, err := s.Follow(b.Context(), backup, marshal(b.T, pv))
	require.NoError(b, err)
	require.NotEmpty(b, operation)
	snapshot, err = s.CreateSnapshot(b.Context(), b.volumeID(pv), "", map[string]string{tagBackup: backup, "velero.io/pv": pv.Name})
	require.NoError(b, err)
	require.Len(b, b.contentsOf(operation), 1, "the storage was done at once")
	return snapshot, operation
}

// contentsOf are the names of the contents that stand for an operation.
func (b *bench) contentsOf(operation string) (names []string) {
	b.Helper()
	list, err := b.Snapshots.VolumeSnapshotContents().List(b.Context(), metav1.ListOptions{LabelSelector: objects.LabelOperation + "=" + operation})
	require.NoError(b, err)
	for _, content := range list.Items {
		names = append(names, content.Name)
	}
	return names
}

// failing are the contents of an operation that have an error.
func (b *bench) failing(operation string) (all []followedContent) {
	b.Helper()
	o, err := b.operation(b.Context(), operation)
	require.NoError(b, err)
	return slices.DeleteFunc(o.contents, func(c followedContent) bool { return c.status().Message == "" })
}

// clockIs has the clock of the plugin be ahead of the others by that much.
func (b *bench) clockIs(ahead time.Duration) {
	s := *b.Snapshotter
	s.now = func() time.Time { return time.Now().Add(ahead) }
	b.Snapshotter = &s
}

// progressed asks, as Velero does, until the progress is as wanted.
func (b *bench) progressed(operation, what string, wanted func(Progress) bool) (now Progress) {
	b.Helper()
	require.NoError(b, testbed.Poll(b.Context(), time.Minute, what, func(ctx context.Context) (bool, string, error) {
		var err error
		now, err = b.Progress(ctx, operation)
		return err == nil && wanted(now), fmt.Sprintf("%+v", now), err
	}))
	return now
}

func done(p Progress) bool { return p.Done }

// loseSnapshots has the storage lose the snapshots that it did not have before.
func (b *bench) loseSnapshots(before testbed.Leftovers) {
	b.Helper()
	now, err := b.Leftovers(b.Context())
	require.NoError(b, err)
	for _, handle := range now.StorageSnapshots {
		if !slices.Contains(before.StorageSnapshots, handle) {
			require.NoError(b, os.RemoveAll(filepath.Join(b.Storage, "snapshots", handle)))
		}
	}
}

// TestClusterFollow takes snapshots that the storage finishes, or does not, when the
// backup has them already.
func TestClusterFollow(t *testing.T) {
	config := map[string]string{"waitFor": "ready", "errorGracePeriod": "3s"}
	shared := onCluster(t, config)
	before, err := shared.Leftovers(t.Context())
	require.NoError(t, err)
	pv := shared.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	withCredential := maps.Clone(config)
	withCredential["credentialsFile"] = "/tmp/credentials/velero/volumes"
	run := func(name string, test func(b *bench)) {
		t.Run(name, func(t *testing.T) {
			test(&bench{T: t, Cluster: shared.Cluster, Snapshotter: shared.Snapshotter, namespace: shared.namespace})
			require.NoError(t, shared.ControlDriver(testbed.DriverControl{}))
		})
	}

	run("an error passes, and the storage finishes", func(b *bench) {
		snapshot, operation := b.follow(pv, "passes", "5s", afterTheFirst("Internal", "the upload has broken off")...)
		b.progressed(operation, "the error to be asked about", func(p Progress) bool {
			require.False(b, p.Done)
			return len(b.contentsOf(operation)) == 2
		})
		require.NoError(b, b.ControlDriver(testbed.DriverControl{}))
		p := b.progressed(operation, "the storage to finish", done)
		require.Empty(b, p.Failure)
		b.onlySnapshots(before, 1)
		require.Equal(b, Progress{Done: true}, b.progressed(operation, "the same as before", done))
		_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
		require.Equal(b, "first", content)
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.soonOnlySnapshots(before, 0)
	})
	run("an error passes by a clock that is ahead", func(b *bench) {
		b.Snapshotter = b.open(map[string]string{"waitFor": "ready", "errorGracePeriod": "1m"})
		b.clockIs(time.Hour)
		snapshot, operation := b.follow(pv, "ahead", "5s", afterTheFirst("InvalidArgument", "the upload has broken off")...)
		b.progressed(operation, "the error of another content", func(p Progress) bool {
			require.False(b, p.Done, p.Failure)
			return strings.Contains(p.State, "broken off") && len(b.failing(operation)) == 2
		})
		require.NoError(b, b.ControlDriver(testbed.DriverControl{}))
		require.Empty(b, b.progressed(operation, "the storage to finish", done).Failure)
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.soonOnlySnapshots(before, 0)
	})
	run("the storage fails by a clock that is behind", func(b *bench) {
		b.clockIs(-time.Hour)
		snapshot, operation := b.follow(pv, "behind", "1h", afterTheFirst("InvalidArgument", "the upload was refused")...)
		p := b.progressed(operation, "the failure", done)
		require.Contains(b, p.Failure, "the upload was refused")
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.soonOnlySnapshots(before, 0)
	})
	run("its content is removed", func(b *bench) {
		snapshot, operation := b.follow(pv, "removed", "1h")
		for _, name := range b.contentsOf(operation) {
			require.NoError(b, b.Snapshots.VolumeSnapshotContents().Delete(b.Context(), name, metav1.DeleteOptions{}))
		}
		p := b.progressed(operation, "the content to be gone", func(p Progress) bool { return p.Done && len(b.contentsOf(operation)) == 0 })
		require.Contains(b, p.Failure, "by someone else")
		b.onlySnapshots(before, 1)
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		_, err := b.later().Sweep(b.Context())
		require.NoError(b, err)
	})
	run("the storage fails", func(b *bench) {
		snapshot, operation := b.follow(pv, "fails", "5s", afterTheFirst("InvalidArgument", "the upload was refused")...)
		p := b.progressed(operation, "the failure", done)
		require.Contains(b, p.Failure, "has failed since it took the point in time")
		require.Contains(b, p.Failure, "the upload was refused")
		b.soonOnlySnapshots(before, 1) // the backup has it
		require.Equal(b, p.Failure, b.progressed(operation, "the same as before", done).Failure, "Velero may have died before it noted that")

		found, err := b.FindLeftovers(b.Context())
		require.NoError(b, err)
		require.Empty(b, found)
		found, err = b.later().Sweep(b.Context())
		require.NoError(b, err)
		require.Len(b, found, 1)
		require.Equal(b, "ConfigMap", found[0].Kind)
		_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "finished")
		require.Equal(b, "first", content, "the storage has finished all the same")
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		require.Empty(b, b.writtenFor("fails"))
		b.soonOnlySnapshots(before, 0)
	})
	run("the storage loses it and takes another", func(b *bench) {
		snapshot, operation := b.follow(pv, "lost", "4s")
		b.loseSnapshots(before)
		require.Contains(b, b.progressed(operation, "the failure", done).Failure, "does not find snapshot snap-")
		b.onlySnapshots(before, 1)
		b.loseSnapshots(before)
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.sweepAll()
	})
	run("the driver cannot look", func(b *bench) {
		snapshot, operation := b.follow(pv, "unlisted", "2s", testbed.DriverRule{Method: "ListSnapshots", Code: "InvalidArgument", Message: "no right to list"})
		require.Empty(b, b.progressed(operation, "the storage to finish", done).Failure)
		b.onlySnapshots(before, 1)
		b.normalDriver()
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.onlySnapshots(before, 0)
	})
	run("the time is up", func(b *bench) {
		asks := b.Snapshotter
		b.Snapshotter = b.open(withCredential) // Velero adds it for the calls that take snapshots
		snapshot, operation := b.follow(pv, "cancelled", "1h")
		b.Snapshotter = asks
		p, err := b.Progress(b.Context(), operation)
		require.NoError(b, err)
		require.False(b, p.Done)
		require.Contains(b, p.State, "handle known true, ready false")
		require.NoError(b, b.Cancel(b.Context(), operation))
		b.onlySnapshots(before, 1)
		p, err = b.Progress(b.Context(), operation)
		require.NoError(b, err)
		require.Contains(b, p.Failure, "did not finish the snapshot")
		require.NoError(b, b.Cancel(b.Context(), operation))
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.onlySnapshots(before, 0)
		b.sweepAll()
	})
	run("the backup is deleted", func(b *bench) {
		snapshot, operation := b.follow(pv, "deleted", "1h")
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.onlySnapshots(before, 0)
		require.Empty(b, b.contentsOf(operation))
	})
	run("the backup ends", func(b *bench) {
		b.defineVelero()
		b.backUpAs("ends", "WaitingForPluginOperations")
		snapshot, operation := b.follow(pv, "ends", "1h")
		found, err := b.later().FindLeftovers(b.Context())
		require.NoError(b, err)
		require.Empty(b, found, "Velero still asks")
		_, err = b.veleroKind("backups").Patch(b.Context(), "ends", types.MergePatchType, []byte(`{"status": {"phase": "PartiallyFailed"}}`), metav1.PatchOptions{})
		require.NoError(b, err)
		found, err = b.later().Sweep(b.Context())
		require.NoError(b, err)
		require.Len(b, found, 2, "the content, and what is told if that goes too early")
		require.Contains(b, found[0].Remedy, "the snapshot stays in the storage")
		require.Equal(b, "ConfigMap", found[1].Kind)
		require.Empty(b, b.contentsOf(operation))
		b.onlySnapshots(before, 1)
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.onlySnapshots(before, 0)
	})
}

// TestClusterFollowReplaced: a snapshot that the driver takes in the place of a lost one is
// removed. It tells the handle where csi-snapshotter adds no name of an object to its request.
func TestClusterFollowReplaced(t *testing.T) {
	onCluster(t, nil) // starts the bed
	cluster, err := shared.bed.StartCluster(t.Context(), testbed.ClusterOptions{Name: "plain"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Kill()) })
	b := benchOn(t, cluster, map[string]string{"waitFor": "ready"})
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot, operation := b.follow(pv, "replaced", "1h", afterTheFirst("Internal", "the upload has broken off")...)
	b.progressed(operation, "the error to be asked about", func(Progress) bool { return len(b.contentsOf(operation)) == 2 })
	b.loseSnapshots(before)
	require.NoError(t, b.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: "1h"}))
	require.Contains(t, b.progressed(operation, "the failure", done).Failure, "in the place of")
	b.soonOnlySnapshots(before, 0)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.sweepAll()
}

// TestFollowed: only a volume of a location that waits is followed.
func TestFollowed(t *testing.T) {
	volume := []byte(`{"metadata": {"name": "pv"}, "spec": {"csi": {"driver": "d", "volumeHandle": "v"}}}`)
	for _, c := range []struct {
		config   map[string]string
		followed bool
	}{
		{map[string]string{"waitFor": "ready"}, true},
		{map[string]string{"waitFor": "ready", "drivers": "other"}, false},
		{map[string]string{"waitFor": "handle"}, false},
		{nil, true}, // nothing is noted of the driver
	} {
		s, err := OpenOn(nil, "velero", nil, c.config)
		require.NoError(t, err)
		s = s.WithOperations(NewOperations(time.Now()))
		s.keepDriverNote("d", DriverNote{})
		operation, err := s.Follow(t.Context(), "b", volume)
		require.NoError(t, err)
		require.Equal(t, c.followed, operation != "", "%v", c.config)
		require.Empty(t, s.operationOf("another", "pv"))
		require.Equal(t, operation, s.operationOf("b", "pv"))
		again, err := s.Follow(t.Context(), "b", volume)
		require.NoError(t, err)
		require.Equal(t, operation, again)
		_, err = s.Progress(t.Context(), "app=mysql")
		require.ErrorContains(t, err, `operation "app=mysql"`)
	}
}
