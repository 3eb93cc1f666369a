package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// meanwhile makes a call, and once its work is under way does something beside it.
func (b *bench) meanwhile(purpose objects.Purpose, disturb func() error, call func()) {
	b.Helper()
	ctx := b.background()
	var beside sync.WaitGroup
	beside.Go(func() {
		err := testbed.Poll(ctx, 20*time.Second, "the call to be under way", func(ctx context.Context) (bool, string, error) {
			return b.underWay(ctx, purpose)
		})
		if err == nil {
			err = disturb()
		}
		if err != nil {
			b.Error(err)
		}
	})
	call()
	beside.Wait()
}

// underWay tells whether the driver has been asked to do its part of a call.
func (b *bench) underWay(ctx context.Context, purpose objects.Purpose) (bool, string, error) {
	mine := metav1.ListOptions{LabelSelector: b.owner.Selector() + "," + objects.LabelPurpose + "=" + string(purpose)}
	if purpose == objects.Restore {
		claims, err := b.Kube.CoreV1().PersistentVolumeClaims("velero").List(ctx, mine)
		return err == nil && len(claims.Items) == 1, "no claim", err
	}
	contents, err := b.Snapshots.VolumeSnapshotContents().List(ctx, mine)
	if err != nil || len(contents.Items) != 1 {
		return false, "no content", err
	}
	return purpose == objects.Snapshot || contents.Items[0].DeletionTimestamp != nil, "not being deleted", nil
}

func (b *bench) rule(rule testbed.DriverRule) {
	b.Helper()
	require.NoError(b, b.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{rule}}))
}

func (b *bench) normalDriver() {
	b.Helper()
	require.NoError(b, b.ControlDriver(testbed.DriverControl{}))
}

// TestClusterPartsAwayInMidCall: a part dies while the driver works for a call,
// and comes back; the call ends well.
func TestClusterPartsAwayInMidCall(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	for _, part := range []testbed.Part{testbed.KubeAPIServer, testbed.SnapshotController, testbed.CSISnapshotter, testbed.CSIProvisioner, testbed.CSIDriver} {
		t.Run(part.Name, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.open(nil), namespace: b.namespace}
			dies := func() error {
				if err := b.Process(part.Name).Kill(); err != nil {
					return err
				}
				return b.Process(part.Name).Restart(b.background())
			}
			var snapshot, restored string
			b.rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "1500ms"})
			b.meanwhile(objects.Snapshot, dies, func() { snapshot = b.snapshotOf(pv, part.Name) })
			b.soonOnlySnapshots(before, 1)
			b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "1500ms"})
			b.meanwhile(objects.Restore, dies, func() {
				restored, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
			})
			require.NoError(t, err)
			_, content := b.adopt(b.Snapshotter, restored, pv, "restored-"+part.Name)
			require.Equal(t, "first", content)
			b.rule(testbed.DriverRule{Method: "DeleteSnapshot", Delay: "1500ms"})
			b.meanwhile(objects.Delete, dies, func() { err = b.DeleteSnapshot(t.Context(), snapshot) })
			require.NoError(t, err)
			b.sweepAll() // csi-provisioner may have failed to take its finalizer from a VolumeSnapshot
			b.soonOnlySnapshots(before, 0)
		})
	}
}

// TestClusterSnapshotClassDeleted: the class goes while the snapshot is taken.
func TestClusterSnapshotClassDeleted(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	classes := b.Snapshots.VolumeSnapshotClasses()
	class, err := classes.Get(t.Context(), testbed.SnapshotClass, metav1.GetOptions{})
	require.NoError(t, err)
	goes := func() error { return classes.Delete(b.background(), class.Name, metav1.DeleteOptions{}) }
	comesBack := func() {
		class.ResourceVersion = ""
		_, err := classes.Create(b.background(), class, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			require.NoError(t, err)
		}
	}
	t.Cleanup(comesBack)

	b.rule(testbed.DriverRule{Method: "CreateSnapshot", Code: "Unavailable", Message: "throttled"})
	began := time.Now()
	b.meanwhile(objects.Snapshot, goes, func() {
		_, err = b.CreateSnapshot(t.Context(), b.volumeID(pv), "", map[string]string{tagBackup: "b1"})
	})
	t.Logf("after %s: %v", time.Since(began), err)
	require.ErrorContains(t, err, "VolumeSnapshotClass "+class.Name+" was deleted while the snapshot was taken")
	require.Less(t, time.Since(began), time.Minute)
	b.normalDriver()
	comesBack()
	// csi-snapshotter looks at it again every 15 minutes, and when it starts: once to
	// end the creation that it has begun, and once to delete.
	require.NoError(t, testbed.Poll(t.Context(), 2*time.Minute, "csi-snapshotter to delete what it began", func(ctx context.Context) (bool, string, error) {
		if err := errors.Join(b.Process(testbed.CSISnapshotter.Name).Kill(), b.Process(testbed.CSISnapshotter.Name).Restart(ctx)); err != nil {
			return false, "", err
		}
		<-time.After(5 * time.Second)
		now, err := b.Leftovers(ctx)
		return len(now.VolumeSnapshotContents) == len(before.VolumeSnapshotContents), fmt.Sprint(now.VolumeSnapshotContents), err
	}))
	b.onlySnapshots(before, 0)

	b.rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "3s"})
	var snapshot string
	goesLater := func() error {
		<-time.After(time.Second) // The driver has been asked then.
		return goes()
	}
	b.meanwhile(objects.Snapshot, goesLater, func() { snapshot = b.snapshotOf(pv, "b2") })
	b.onlySnapshots(before, 1)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content, "neither a restore nor a deletion needs the class")
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterStorageClassDeleted: the target class goes while the driver makes the
// volume, which has a class of its own.
func TestClusterStorageClassDeleted(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	classes := b.Kube.StorageV1().StorageClasses()
	class, err := classes.Get(t.Context(), testbed.ClassImmediate, metav1.GetOptions{})
	require.NoError(t, err)
	class.ObjectMeta = metav1.ObjectMeta{Name: "short-lived"}
	_, err = classes.Create(t.Context(), class, metav1.CreateOptions{})
	require.NoError(t, err)
	goes := func() error {
		<-time.After(time.Second) // The driver has been asked then.
		return classes.Delete(b.background(), class.Name, metav1.DeleteOptions{})
	}
	b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "3s"})
	var volume string
	b.meanwhile(objects.Restore, goes, func() {
		volume, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, class.Name, "", nil)
	})
	require.NoError(t, err)
	_, content := b.adopt(b.Snapshotter, volume, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterSnapshotGoneInMidRestore: the storage loses the snapshot when all is
// ready to restore it.
func TestClusterSnapshotGoneInMidRestore(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	id, err := ids.ParseSnapshotID(snapshot)
	require.NoError(t, err)
	b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "1s"})
	lost := func() error { return os.RemoveAll(filepath.Join(b.Storage, "snapshots", id.Handle)) }
	began := time.Now()
	b.meanwhile(objects.Restore, lost, func() {
		_, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	})
	t.Logf("after %s: %v", time.Since(began), err)
	require.ErrorContains(t, err, id.Handle)
	require.Less(t, time.Since(began), time.Minute)
	b.normalDriver()
	b.sweepAll()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.soonOnlySnapshots(before, 0)
	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.Len(t, now.StorageVolumes, len(before.StorageVolumes)+1)
}
