package objects

import (
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

func TestPurposeOf(t *testing.T) {
	call := NewCall(Owner{Velero: "velero", Location: "l"}, Restore, time.Now())
	ours := call.Meta("staging")
	require.Equal(t, Restore, PurposeOf(&ours))
	for name, change := range map[string]func(*metav1.ObjectMeta){
		"another name":       func(m *metav1.ObjectMeta) { m.Name = "longshore-restore-of-my-own" },
		"another purpose":    func(m *metav1.ObjectMeta) { m.Labels[LabelPurpose] = string(Snapshot) },
		"managed by another": func(m *metav1.ObjectMeta) { m.Labels[LabelManagedBy] = "Helm" },
		"no deadline":        func(m *metav1.ObjectMeta) { delete(m.Annotations, AnnotationDeadline) },
		"an odd deadline":    func(m *metav1.ObjectMeta) { m.Annotations[AnnotationDeadline] = "soon" },
	} {
		t.Run(name, func(t *testing.T) {
			changed := call.Meta("staging")
			change(&changed)
			require.Empty(t, PurposeOf(&changed))
		})
	}
}

func TestCallNames(t *testing.T) {
	first, second := NewCall(Owner{}, Snapshot, time.Now()), NewCall(Owner{}, Snapshot, time.Now())
	require.NotEqual(t, first.Name(), second.Name())
	require.Regexp(t, `^longshore-snapshot-[0-9a-f-]{36}$`, first.Name())
	require.NotEqual(t, Location(map[string]string{"a": "b"}), Location(map[string]string{"a": "c"}))

	first.Backup = "a-backup"
	require.Equal(t, first.Backup, first.Meta("").Annotations[AnnotationBackup])
}

// TestStatusWritten: when a status was written is told by the clock of the API server alone.
func TestStatusWritten(t *testing.T) {
	made := metav1.NewTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	at := func(after time.Duration, subresource string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Subresource: subresource, Time: &metav1.Time{Time: made.Add(after)}}
	}
	hourAhead := metav1.NewTime(made.Add(time.Hour))
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: made},
		Status:     &snapshotv1.VolumeSnapshotContentStatus{Error: &snapshotv1.VolumeSnapshotError{Time: &hourAhead}},
	}
	require.Zero(t, StatusOf(content).Written)
	content.ManagedFields = []metav1.ManagedFieldsEntry{at(time.Second, "status"), at(5*time.Second, "status"), at(9*time.Second, ""), {Subresource: "status"}}
	require.Equal(t, 5*time.Second, StatusOf(content).Written)
	group := &kube.GroupSnapshotContent{ObjectMeta: content.ObjectMeta}
	require.Equal(t, 5*time.Second, StatusOfGroup(group).Written)
}

func TestProvisioned(t *testing.T) {
	made := metav1.NewTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	class := "longshore-restore-1"
	claim := ClaimOf(&corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "c", UID: "u", CreationTimestamp: made},
		Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: &class},
	}, "d")
	volume := func() *corev1.PersistentVolume {
		return &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "pvc-u", CreationTimestamp: made, Annotations: map[string]string{AnnotationProvisionedBy: "d"}},
			Spec: corev1.PersistentVolumeSpec{
				StorageClassName:       class,
				ClaimRef:               &corev1.ObjectReference{Namespace: "velero", Name: "c", UID: "u"},
				PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: "v"}},
			},
		}
	}
	require.NoError(t, claim.Provisioned(volume()))
	for name, c := range map[string]struct {
		change func(*corev1.PersistentVolume)
		reason string
	}{
		"no CSI volume":   {func(pv *corev1.PersistentVolume) { pv.Spec.CSI = nil }, "no CSI volume"},
		"another driver":  {func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "e" }, `its driver is "e"`},
		"no claim":        {func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil }, "no claim"},
		"another claim":   {func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.Name = "x" }, "claim velero/x"},
		"a later claim":   {func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "w" }, "UID w"},
		"made by hand":    {func(pv *corev1.PersistentVolume) { pv.Annotations = nil }, "provisioned-by"},
		"bound afterward": {func(pv *corev1.PersistentVolume) { pv.Annotations[AnnotationBoundByController] = "yes" }, "before the claim was bound"},
		"another class":   {func(pv *corev1.PersistentVolume) { pv.Spec.StorageClassName = "fast" }, `StorageClass is "fast"`},
		"older": {func(pv *corev1.PersistentVolume) {
			pv.CreationTimestamp = metav1.NewTime(made.Add(-time.Second))
		}, "before the claim"},
	} {
		t.Run(name, func(t *testing.T) {
			pv := volume()
			c.change(pv)
			err := claim.Provisioned(pv)
			require.ErrorContains(t, err, c.reason)
			require.ErrorContains(t, err, "PersistentVolume pvc-u is not one that driver d made for claim velero/c, and is left alone")
		})
	}
	unknown := claim
	unknown.UID = ""
	require.ErrorContains(t, unknown.Provisioned(volume()), "UID is not known")
}
