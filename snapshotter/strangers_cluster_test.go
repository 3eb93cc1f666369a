package snapshotter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// TestClusterStrangers: Available volumes of the class, which Kubernetes would bind
// to any claim of it, are never returned, changed or deleted.
func TestClusterStrangers(t *testing.T) {
	b := onCluster(t, nil)
	available, err := b.foreign.Available(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, available, "volumes that a claim would be bound to")
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	for _, class := range []string{testbed.ClassImmediate, testbed.ClassRetain, testbed.ClassWaitForFirstConsumer} {
		as := pv.DeepCopy()
		as.Spec.StorageClassName = class
		restored, content := b.restoreAs(b.Snapshotter, snapshot, as, "as-"+class)
		require.Equal(t, "first", content)
		require.Equal(t, class, restored.Spec.StorageClassName)
	}
	// A restore that fails, and one that was killed, are cleaned up.
	b.rule(testbed.DriverRule{Method: "CreateVolume", Code: "InvalidArgument", Message: "no"})
	_, err = b.open(map[string]string{"errorGracePeriod": "1s"}).CreateVolumeFromSnapshot(t.Context(), snapshot, testbed.ClassImmediate, "", nil)
	require.ErrorContains(t, err, "no")
	b.normalDriver()
	b.killed(200*time.Millisecond, "restore", snapshot, testbed.ClassImmediate)
	b.sweepAll()
	require.NoError(t, b.foreign.Verify(t.Context()))
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterForgedClaim: whoever can write claims in the staging namespace cannot
// have a sweep remove another's volume, with our labels or in the place of a
// restore's own claim.
func TestClusterForgedClaim(t *testing.T) {
	b := onCluster(t, nil)
	victim := b.claimed(testbed.ClaimOptions{Name: "victim"}, "a victim's")
	labels := b.newCall(objects.Restore, 0).Meta("velero").Labels
	forged, err := b.Kube.CoreV1().PersistentVolumeClaims("velero").Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "longshore-restore-forged", Labels: labels, Annotations: map[string]string{objects.AnnotationDeadline: "2000-01-01T00:00:00Z"}},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: victim.Name, StorageClassName: &victim.Spec.StorageClassName, AccessModes: victim.Spec.AccessModes,
			Resources: corev1.VolumeResourceRequirements{Requests: victim.Spec.Capacity},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	b.sweepAll()
	left, err := b.Kube.CoreV1().PersistentVolumeClaims("velero").Get(t.Context(), forged.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, left.DeletionTimestamp)
	now, err := b.Kube.CoreV1().PersistentVolumes().Get(t.Context(), victim.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, victim.Spec.PersistentVolumeReclaimPolicy, now.Spec.PersistentVolumeReclaimPolicy)
	require.Equal(t, "a victim's", b.read("victim"))
	require.NoError(t, b.Kube.CoreV1().PersistentVolumeClaims("velero").Delete(t.Context(), forged.Name, metav1.DeleteOptions{}))
}
