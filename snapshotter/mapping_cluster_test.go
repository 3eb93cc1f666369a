package snapshotter

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

const classMapping = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: change-storage-class
  namespace: velero
  labels: {velero.io/plugin-config: "", velero.io/change-storage-class: RestoreItemAction}
data: {gone: hostpath-wait}
`

// TestClusterStorageClasses: the class of the backup is replaced by the setting,
// or by Velero's own mapping; a volume that was made by hand has none.
func TestClusterStorageClasses(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	require.NoError(t, b.Apply(t.Context(), classMapping))
	t.Cleanup(func() {
		require.NoError(t, b.Kube.CoreV1().ConfigMaps("velero").Delete(b.background(), "change-storage-class", metav1.DeleteOptions{}))
	})
	for name, c := range map[string]struct {
		old    string
		config map[string]string
		want   string
	}{
		"of the backup":     {old: testbed.ClassImmediate, want: testbed.ClassImmediate},
		"by Velero":         {old: "gone", want: testbed.ClassWaitForFirstConsumer},
		"by the setting":    {old: "gone", config: map[string]string{"storageClass.gone": testbed.ClassImmediate}, want: testbed.ClassImmediate},
		"none: the default": {want: testbed.ClassImmediate},
	} {
		t.Run(name, func(t *testing.T) {
			s := b.open(c.config)
			class, err := s.storageClassFor(t.Context(), c.old, ids.SnapshotID{Driver: testbed.DriverName})
			require.NoError(t, err)
			require.Equal(t, c.want, class.Name)
		})
	}
	b.refusesTwoMappings(t, snapshot)
	old := pv.DeepCopy()
	old.Spec.StorageClassName = "gone"
	id, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, old.Spec.StorageClassName, "", nil)
	require.NoError(t, err)
	_, content := b.adopt(b.Snapshotter, id, old, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// refusesTwoMappings: Velero restores nothing with two ConfigMaps, so no volume is
// made for it.
func (b *bench) refusesTwoMappings(t *testing.T, snapshot string) {
	t.Helper()
	require.NoError(t, b.Apply(t.Context(), strings.Replace(classMapping, "name: change-storage-class", "name: another-mapping", 1)))
	_, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, testbed.ClassImmediate, "", nil)
	require.ErrorContains(t, err, "several ConfigMaps in namespace velero map storage classes")
	require.ErrorContains(t, err, "another-mapping, change-storage-class")
	require.NoError(t, b.Kube.CoreV1().ConfigMaps("velero").Delete(t.Context(), "another-mapping", metav1.DeleteOptions{}))
}

// TestClusterChoosesByAnnotation: a claim chooses its class by Velero's annotation.
func TestClusterChoosesByAnnotation(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	claims := b.Kube.CoreV1().PersistentVolumeClaims(b.namespace)
	claim, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
	require.NoError(t, err)
	claim.Annotations[classes.VeleroClass] = "nowhere"
	_, err = claims.Update(t.Context(), claim, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = b.CreateSnapshot(t.Context(), b.volumeID(pv), "", nil)
	require.ErrorContains(t, err, `no VolumeSnapshotClass "nowhere", which the claim's annotation`)
}

// TestClusterShares restores a volume of several writers with its access modes.
func TestClusterShares(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	id, err := ids.ParseSnapshotID(b.snapshotOf(pv, "b1"))
	require.NoError(t, err)
	id.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
	volume, err := b.CreateVolumeFromSnapshot(t.Context(), id.String(), pv.Spec.StorageClassName, "", nil)
	require.NoError(t, err)
	_, content := b.adopt(b.Snapshotter, volume, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.DeleteSnapshot(t.Context(), id.String()))
}
