package snapshotter

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterBound follows a restored volume until its claim is bound.
func TestClusterBound(t *testing.T) {
	b := onCluster(t, nil)
	operations := NewOperations(time.Now())
	s := b.WithOperations(operations)
	old := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(old, "b1")
	volumeID, err := s.CreateVolumeFromSnapshot(t.Context(), snapshot, old.Spec.StorageClassName, "", nil)
	require.NoError(t, err)
	content, err := s.SetVolumeID(t.Context(), marshal(t, b.template(old, "restored")), volumeID)
	require.NoError(t, err)
	name, err := operations.FollowRestored(content)
	require.NoError(t, err)
	require.Equal(t, "restored-"+b.namespace, name)
	other, err := operations.FollowRestored(marshal(t, old))
	require.NoError(t, err)
	require.Empty(t, other, "it was not restored")

	bound := func() Progress {
		t.Helper()
		p, err := s.Bound(t.Context(), name)
		require.NoError(t, err)
		return p
	}
	require.Equal(t, "PersistentVolume "+name+" is not there", bound().Failure)
	var pv corev1.PersistentVolume
	require.NoError(t, json.Unmarshal(content, &pv))
	made, err := b.Kube.CoreV1().PersistentVolumes().Create(t.Context(), &pv, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		p := bound()
		return p.Done && p.Failure == "" && p.State == "PersistentVolume "+name+" is Available"
	}, 30*time.Second, 50*time.Millisecond, "its claim is not restored")

	// A claim that asks for more is never bound to it, nor does anyone make it a volume.
	claims := b.Kube.CoreV1().PersistentVolumeClaims(b.namespace)
	_, err = claims.Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "restored"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new(""), AccessModes: pv.Spec.AccessModes,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Ti")}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		claim, err := claims.Get(t.Context(), "restored", metav1.GetOptions{})
		return err == nil && claim.Status.Phase == corev1.ClaimPending
	}, 30*time.Second, 50*time.Millisecond)
	p := bound()
	require.False(t, p.Done)
	require.Contains(t, p.State, "claim "+b.namespace+"/restored is Pending")
	later := *s
	later.now = func() time.Time { return time.Now().Add(2 * boundLimit) }
	p, err = later.Bound(t.Context(), name)
	require.NoError(t, err)
	require.Contains(t, p.Failure, "claim "+b.namespace+"/restored is Pending since 5m0s")
	classless := made.DeepCopy()
	classless.Spec.StorageClassName, classless.Status.Phase = "", corev1.VolumeAvailable
	p, err = later.boundState(t.Context(), classless)
	require.NoError(t, err)
	require.Contains(t, p.Failure, "is Pending since 5m0s")
	require.NoError(t, claims.Delete(t.Context(), "restored", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		_, err := claims.Get(t.Context(), "restored", metav1.GetOptions{})
		return err != nil
	}, 30*time.Second, 50*time.Millisecond)
	b.claimedBy(made, "restored")
	p = bound()
	require.True(t, p.Done)
	require.Empty(t, p.Failure)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
