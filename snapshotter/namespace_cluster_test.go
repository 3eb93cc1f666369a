package snapshotter

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

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
		require.NoError(b, b.DeleteNamespaceLater(b.Context(), elsewhere.namespace))
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
		b.soonOnlySnapshots(before, 0)
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
		b.meanwhile(objects.Snapshot, func() error { return b.terminating("data") }, func() { snapshot, err = take(b, pv) })
		require.NoError(t, err)
		b.normalDriver()
		b.release("data")
		restorable(b, before, snapshot, pv)
	})
	t.Run("and the volume with it", func(t *testing.T) {
		b := onCluster(t, nil)
		before, err := b.Leftovers(t.Context())
		require.NoError(t, err)
		pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: testbed.ClassImmediate}, "first")
		b.rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "8s"})
		began := time.Now()
		b.meanwhile(objects.Snapshot, func() error { return b.terminating("") }, func() { _, err = take(b, pv) })
		t.Logf("after %s: %v", time.Since(began), err)
		require.ErrorContains(t, err, pv.Name)
		require.Less(t, time.Since(began), time.Minute)
		b.normalDriver()
		b.soonOnlySnapshots(before, 0)
	})
	t.Run("when the point in time is taken", func(t *testing.T) {
		b := onCluster(t, map[string]string{"waitFor": "ready"})
		before, err := b.Leftovers(t.Context())
		require.NoError(t, err)
		pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
		require.NoError(t, b.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: "4s"}))
		var snapshot string
		taken := func() error {
			err := testbed.Poll(b.background(), 10*time.Second, "the snapshot to be taken", func(context.Context) (bool, string, error) {
				now, err := b.Leftovers(b.background())
				return err == nil && len(now.StorageSnapshots) == len(before.StorageSnapshots)+1, "", err
			})
			if err != nil {
				return err
			}
			return b.terminating("")
		}
		b.meanwhile(objects.Snapshot, taken, func() { snapshot, err = take(b, pv) })
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
	b.soonOnlySnapshots(before, 0)
	staging.release("held")
	require.NoError(t, b.DeleteNamespaceLater(t.Context(), staging.namespace))
}

// TestClusterStagingNamespaceChanged: a restore that was begun under another
// stagingNamespace is handed over, and one that nobody was given is swept.
func TestClusterStagingNamespaceChanged(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	former := b.open(map[string]string{"stagingNamespace": b.namespace})
	volume := func() string {
		id, err := former.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
		require.NoError(t, err)
		return id
	}
	given := volume()
	_ = volume()
	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.Len(t, now.Claims, len(before.Claims)+3, "data and two staging claims in %s", b.namespace)
	require.Len(t, now.StorageVolumes, len(before.StorageVolumes)+3)

	_, content := b.adopt(b.Snapshotter, given, pv, "restored")
	require.Equal(t, "first", content)
	b.sweepAll()
	require.NoError(t, testbed.Poll(t.Context(), time.Minute, "the volume that nobody was given to go", func(ctx context.Context) (bool, string, error) {
		now, err := b.Leftovers(ctx)
		volumes, claims := len(now.StorageVolumes)-len(before.StorageVolumes), len(now.Claims)-len(before.Claims)
		return volumes == 2 && claims == 2 && unlike(before, now, 1) == "", fmt.Sprint(volumes, " volumes, ", claims, " claims more"), err
	}))
	require.Equal(t, "first", b.read("restored"))
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
