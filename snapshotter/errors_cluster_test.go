package snapshotter

import (
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// TestClusterClearErrors: what cannot work is said at once, by name.
func TestClusterClearErrors(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: testbed.ClassImmediate}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	id, err := ids.ParseSnapshotID(snapshot)
	require.NoError(t, err)
	elsewhere, gone := id, id
	elsewhere.Driver, gone.Handle = "ebs.csi.aws.com", "snap-0000"
	volume, err := ids.ParseVolumeID(b.volumeID(pv))
	require.NoError(t, err)
	moved, lost := volume, volume
	moved.Handle, lost.PV = "vol-other", "pvc-lost"

	create := func(id string, config map[string]string) func() error {
		return func() error {
			_, err := b.open(config).CreateSnapshot(t.Context(), id, "", map[string]string{tagBackup: "b2"})
			return err
		}
	}
	restore := func(id, class string, config map[string]string) func() error {
		return func() error {
			_, err := b.open(config).CreateVolumeFromSnapshot(t.Context(), id, class, "", nil)
			return err
		}
	}
	for name, c := range map[string]struct {
		call  func() error
		words []string
	}{
		"snapshot: no ID":         {create("vol-1", nil), []string{"no volume ID"}},
		"snapshot: class missing": {create(volume.String(), map[string]string{"snapshotClass": "nope"}), []string{`"nope"`, "hostpath (" + testbed.DriverName + ")", b.namespace + "/data"}},
		"snapshot: volume lost":   {create(lost.String(), nil), []string{"pvc-lost", "not found"}},
		"snapshot: volume moved":  {create(moved.String(), nil), []string{"no longer that volume", "vol-other"}},
		"restore: no ID":          {restore("snap-1", "hostpath", nil), []string{"no snapshot ID"}},
		"restore: class missing":  {restore(snapshot, "gone", nil), []string{`no StorageClass "gone"`, "hostpath, hostpath-retain, hostpath-wait", "storageClass.gone"}},
		"restore: class mapped wrongly": {
			restore(snapshot, "gone", map[string]string{"storageClass.gone": "none"}),
			[]string{`no StorageClass "none", which the setting storageClass.gone names`},
		},
		"restore: driver missing": {restore(elsewhere.String(), "hostpath", nil), []string{"ebs.csi.aws.com is not installed", "it has " + testbed.DriverName}},
		"delete: no ID":           {func() error { return b.DeleteSnapshot(t.Context(), "snap-1") }, []string{"no snapshot ID"}},
		"delete: driver missing":  {func() error { return b.DeleteSnapshot(t.Context(), elsewhere.String()) }, []string{"ebs.csi.aws.com is not installed"}},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			err := c.call()
			for _, words := range c.words {
				require.ErrorContains(t, err, words)
			}
			require.Error(t, err)
			require.Less(t, time.Since(began), 5*time.Second)
		})
	}
	t.Run("restore: snapshot gone", func(t *testing.T) {
		began := time.Now()
		require.ErrorContains(t, restore(gone.String(), "hostpath", nil)(), "can not find snapshot")
		require.Less(t, time.Since(began), 30*time.Second)
	})
	t.Run("snapshot: volume gone", func(t *testing.T) {
		require.NoError(t, b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Delete(t.Context(), "data", metav1.DeleteOptions{}))
		require.Eventually(t, func() bool {
			_, err := b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Get(t.Context(), "data", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}, 20*time.Second, 50*time.Millisecond)
		require.ErrorContains(t, create(volume.String(), nil)(), "PersistentVolume "+pv.Name)
	})
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterRespectsOthers: a snapshot that another tool has imported is not
// deleted under it.
func TestClusterRespectsOthers(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	id, err := ids.ParseSnapshotID(snapshot)
	require.NoError(t, err)
	foreign := b.staticContent(b.newCall(objects.Restore, 0), id, snapshotv1.VolumeSnapshotContentRetain, nil, "")
	foreign.Name, foreign.Labels, foreign.Annotations = "foreign-"+b.namespace, nil, nil
	contents := b.Snapshots.VolumeSnapshotContents()
	made, err := contents.Create(t.Context(), foreign, metav1.CreateOptions{})
	require.NoError(t, err)

	began := time.Now()
	require.ErrorContains(t, b.DeleteSnapshot(t.Context(), snapshot), made.Name)
	require.Less(t, time.Since(began), 5*time.Second)
	require.NoError(t, contents.Delete(t.Context(), made.Name, metav1.DeleteOptions{}))
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
