package snapshotter

import (
	"context"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterMigratedVolume: an in-tree volume that a CSI driver serves is passed
// over, and the reason that is given is true.
func TestClusterMigratedVolume(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.migrated()
	id, err := b.GetVolumeID(t.Context(), marshal(t, pv))
	require.NoError(t, err)
	require.Empty(t, id)
	require.Contains(t, b.passesOver(pv), "the snapshot controller takes snapshots only of volumes whose PersistentVolume has a csi section")

	class, claim := testbed.SnapshotClass, pv.Spec.ClaimRef.Name
	snapshots := b.Snapshots.VolumeSnapshots(b.namespace)
	_, err = snapshots.Create(t.Context(), &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: "by-hand"},
		Spec: snapshotv1.VolumeSnapshotSpec{
			VolumeSnapshotClassName: &class,
			Source:                  snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: &claim},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	var refusal string
	require.NoError(t, testbed.Poll(t.Context(), 30*time.Second, "the snapshot controller to refuse", func(ctx context.Context) (bool, string, error) {
		vs, err := snapshots.Get(ctx, "by-hand", metav1.GetOptions{})
		if err != nil || vs.Status == nil {
			return false, "no status", err
		}
		refusal = messageOf(vs.Status.Error)
		return refusal != "", "no error", nil
	}))
	require.Contains(t, refusal, "cannot find CSI PersistentVolumeSource for volume")
	require.NoError(t, snapshots.Delete(t.Context(), "by-hand", metav1.DeleteOptions{}))
	require.NoError(t, b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Delete(t.Context(), claim, metav1.DeleteOptions{}))
	require.NoError(t, b.Kube.CoreV1().PersistentVolumes().Delete(t.Context(), pv.Name, metav1.DeleteOptions{}))
}

// migrated makes a claim with an in-tree volume, bound, as an upgraded cluster has.
func (b *bench) migrated() *corev1.PersistentVolume {
	b.Helper()
	none := ""
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	pv, err := b.Kube.CoreV1().PersistentVolumes().Create(b.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "in-tree-" + b.namespace, Annotations: map[string]string{annotationMigratedTo: "ebs.csi.aws.com"}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: modes, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: b.namespace, Name: "old"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "vol-0123456789"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(b, err)
	_, err = b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Create(b.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "old"},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: pv.Name, StorageClassName: &none, AccessModes: modes, Resources: corev1.VolumeResourceRequirements{Requests: size},
		},
	}, metav1.CreateOptions{})
	require.NoError(b, err)
	_, err = b.WaitBound(b.Context(), b.namespace, "old")
	require.NoError(b, err)
	return pv
}
