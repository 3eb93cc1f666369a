package snapshotter

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// meanwhile makes a call, and once its work is under way does something beside it.
func (b *bench) meanwhile(purpose string, disturb func() error, call func()) {
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
func (b *bench) underWay(ctx context.Context, purpose string) (bool, string, error) {
	mine := metav1.ListOptions{LabelSelector: labelPurpose + "=" + purpose}
	if purpose == purposeRestore {
		claims, err := b.Kube.CoreV1().PersistentVolumeClaims("velero").List(ctx, mine)
		return err == nil && len(claims.Items) == 1, "no claim", err
	}
	contents, err := b.Snapshots.VolumeSnapshotContents().List(ctx, mine)
	if err != nil || len(contents.Items) != 1 {
		return false, "no content", err
	}
	return purpose == purposeSnapshot || contents.Items[0].DeletionTimestamp != nil, "not being deleted", nil
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
			b.meanwhile(purposeSnapshot, dies, func() { snapshot = b.snapshotOf(pv, part.Name) })
			b.onlySnapshots(before, 1)
			b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "1500ms"})
			b.meanwhile(purposeRestore, dies, func() {
				restored, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
			})
			require.NoError(t, err)
			_, content := b.adopt(b.Snapshotter, restored, pv, "restored-"+part.Name)
			require.Equal(t, "first", content)
			b.rule(testbed.DriverRule{Method: "DeleteSnapshot", Delay: "1500ms"})
			b.meanwhile(purposeDelete, dies, func() { err = b.DeleteSnapshot(t.Context(), snapshot) })
			require.NoError(t, err)
			b.onlySnapshots(before, 0)
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
	b.meanwhile(purposeSnapshot, goes, func() {
		_, err = b.CreateSnapshot(t.Context(), b.volumeID(pv), "", map[string]string{tagBackup: "b1"})
	})
	t.Logf("after %s: %v", time.Since(began), err)
	require.ErrorContains(t, err, "VolumeSnapshotClass "+class.Name+" was deleted while the snapshot was taken")
	require.Less(t, time.Since(began), 20*time.Second)
	b.normalDriver()
	comesBack()
	require.Eventually(t, func() bool {
		now, err := b.Leftovers(t.Context())
		return err == nil && len(now.VolumeSnapshotContents) == 0
	}, 2*time.Minute, 200*time.Millisecond, "what could not be removed without the class goes when it is back")
	b.onlySnapshots(before, 0)

	b.rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "3s"})
	var snapshot string
	goesLater := func() error {
		<-time.After(time.Second) // The driver has been asked then.
		return goes()
	}
	b.meanwhile(purposeSnapshot, goesLater, func() { snapshot = b.snapshotOf(pv, "b2") })
	b.onlySnapshots(before, 1)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content, "neither a restore nor a deletion needs the class")
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

const hold = "longshore.dev/hold"

// terminating deletes the application's namespace; its claim is held, as by a pod
// that still runs.
func (b *bench) terminating(claim string) error {
	claims := b.Kube.CoreV1().PersistentVolumeClaims(b.namespace)
	if claim != "" {
		_, err := claims.Patch(b.background(), claim, types.MergePatchType, []byte(`{"metadata":{"finalizers":["`+hold+`"]}}`), metav1.PatchOptions{})
		if err != nil {
			return err
		}
	}
	if err := b.Kube.CoreV1().Namespaces().Delete(b.background(), b.namespace, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return testbed.Poll(b.background(), 20*time.Second, "the claim to be deleted", func(ctx context.Context) (bool, string, error) {
		list, err := claims.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		for _, c := range list.Items {
			if c.DeletionTimestamp == nil {
				return false, c.Name, nil
			}
		}
		return true, "", nil
	})
}

func (b *bench) release(claim string) {
	b.Helper()
	_, err := b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Patch(b.background(), claim, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	require.NoError(b, err)
}

// TestClusterNamespaceTerminating: a snapshot needs nothing of the application's
// namespace but the volume, and a restore nothing at all.
func TestClusterNamespaceTerminating(t *testing.T) {
	take := func(b *bench, pv *corev1.PersistentVolume) (string, error) {
		return b.CreateSnapshot(b.Context(), b.volumeID(pv), "", map[string]string{tagBackup: "b1"})
	}
	restorable := func(b *bench, before testbed.Leftovers, snapshot string, pv *corev1.PersistentVolume) {
		b.onlySnapshots(before, 1)
		volume, err := b.CreateVolumeFromSnapshot(b.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
		require.NoError(b, err)
		elsewhere := &bench{T: b.T, Cluster: b.Cluster, Snapshotter: b.Snapshotter, namespace: b.namespace + "-2"}
		require.NoError(b, b.CreateNamespace(b.Context(), elsewhere.namespace))
		_, content := elsewhere.adopt(b.Snapshotter, volume, pv, "restored")
		require.Equal(b, "first", content)
		require.NoError(b, b.DeleteNamespace(b.Context(), elsewhere.namespace))
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.onlySnapshots(before, 0)
	}
	t.Run("before the call", func(t *testing.T) {
		b := onCluster(t, nil)
		before, err := b.Leftovers(t.Context())
		require.NoError(t, err)
		pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
		require.NoError(t, b.terminating("data"))
		snapshot, err := take(b, pv)
		require.NoError(t, err)
		b.release("data")
		restorable(b, before, snapshot, pv)
	})
	t.Run("in mid-call", func(t *testing.T) {
		b := onCluster(t, nil)
		before, err := b.Leftovers(t.Context())
		require.NoError(t, err)
		pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
		b.rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "2s"})
		var snapshot string
		b.meanwhile(purposeSnapshot, func() error { return b.terminating("data") }, func() { snapshot, err = take(b, pv) })
		require.NoError(t, err)
		b.normalDriver()
		b.release("data")
		restorable(b, before, snapshot, pv)
	})
	t.Run("and the volume with it", func(t *testing.T) {
		b := onCluster(t, nil)
		before, err := b.Leftovers(t.Context())
		require.NoError(t, err)
		pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
		b.rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "8s"})
		began := time.Now()
		b.meanwhile(purposeSnapshot, func() error { return b.terminating("") }, func() { _, err = take(b, pv) })
		t.Logf("after %s: %v", time.Since(began), err)
		require.ErrorContains(t, err, pv.Name)
		require.Less(t, time.Since(began), time.Minute)
		b.normalDriver()
		b.onlySnapshots(before, 0)
	})
	t.Run("when the point in time is cut", func(t *testing.T) {
		b := onCluster(t, map[string]string{"waitFor": "ready"})
		before, err := b.Leftovers(t.Context())
		require.NoError(t, err)
		pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
		require.NoError(t, b.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: "4s"}))
		var snapshot string
		cut := func() error {
			err := testbed.Poll(b.background(), 10*time.Second, "the snapshot to be cut", func(context.Context) (bool, string, error) {
				now, err := b.Leftovers(b.background())
				return err == nil && len(now.StorageSnapshots) == len(before.StorageSnapshots)+1, "", err
			})
			if err != nil {
				return err
			}
			return b.terminating("")
		}
		b.meanwhile(purposeSnapshot, cut, func() { snapshot, err = take(b, pv) })
		require.NoError(t, err)
		b.normalDriver()
		restorable(b, before, snapshot, pv)
	})
}

// TestClusterStagingNamespaceTerminating: where nothing can be staged the restore
// says so and leaves nothing; a deletion does without.
func TestClusterStagingNamespaceTerminating(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")

	staging := &bench{T: t, Cluster: b.Cluster, namespace: b.namespace + "-staging"}
	require.NoError(t, b.CreateNamespace(t.Context(), staging.namespace))
	_, err = b.CreateClaim(t.Context(), testbed.ClaimOptions{Namespace: staging.namespace, Name: "held"})
	require.NoError(t, err)
	require.NoError(t, staging.terminating("held"))
	staging.Snapshotter = b.open(map[string]string{"stagingNamespace": staging.namespace})
	began := time.Now()
	_, err = staging.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	t.Logf("after %s: %v", time.Since(began), err)
	require.ErrorContains(t, err, staging.namespace)
	require.ErrorContains(t, err, "is being terminated")
	require.Less(t, time.Since(began), 30*time.Second)
	b.onlySnapshots(before, 1)
	require.NoError(t, staging.DeleteSnapshot(t.Context(), snapshot))
	b.onlySnapshots(before, 0)
	staging.release("held")
	require.NoError(t, b.DeleteNamespace(t.Context(), staging.namespace))
}

// TestClusterSnapshotGoneInMidRestore: the storage loses the snapshot when all is
// ready to restore it.
func TestClusterSnapshotGoneInMidRestore(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	id, err := ParseSnapshotID(snapshot)
	require.NoError(t, err)
	b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "1s"})
	lost := func() error { return os.RemoveAll(filepath.Join(b.Storage, "snapshots", id.Handle)) }
	began := time.Now()
	b.meanwhile(purposeRestore, lost, func() {
		_, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	})
	t.Logf("after %s: %v", time.Since(began), err)
	require.ErrorContains(t, err, id.Handle)
	require.Less(t, time.Since(began), time.Minute)
	b.normalDriver()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.Len(t, now.StorageVolumes, len(before.StorageVolumes)+1)
	b.provisionerLooks()
}

// provisionerLooks has csi-provisioner look after the VolumeSnapshots of claims
// it gave up, which it otherwise does now and then.
func (b *bench) provisionerLooks() {
	b.Helper()
	require.NoError(b, b.Process(testbed.CSIProvisioner.Name).Kill())
	require.NoError(b, b.Process(testbed.CSIProvisioner.Name).Restart(b.Context()))
	require.Eventually(b, func() bool {
		now, err := b.Leftovers(b.Context())
		return err == nil && len(now.VolumeSnapshots) == 0
	}, 20*time.Second, 100*time.Millisecond)
}
