package drill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestMade wants the proof for each volume that goes with a scratch namespace.
func TestMade(t *testing.T) {
	began := metav1.NewTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "drill-a-shop", Name: "data", UID: "u", CreationTimestamp: began}}
	const restore = "longshore-drill-a"
	for name, c := range map[string]struct {
		change func(*corev1.PersistentVolume)
		gone   bool // the claim
		doubt  string
	}{
		"provisioned": {change: func(*corev1.PersistentVolume) {}},
		"restored": {change: func(pv *corev1.PersistentVolume) {
			pv.Labels, pv.Annotations = map[string]string{labelRestore: restore}, nil
		}},
		"claim gone":  {gone: true, change: func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeReleased }},
		"still bound": {gone: true, change: func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeBound }, doubt: "its claim is not there"},
		"restored, not bound": {change: func(pv *corev1.PersistentVolume) {
			pv.Labels, pv.Spec.ClaimRef.UID = map[string]string{labelRestore: restore}, ""
		}},
		"restored without a claim": {gone: true, change: func(pv *corev1.PersistentVolume) {
			pv.Labels, pv.Spec.ClaimRef.UID = map[string]string{labelRestore: restore}, ""
		}},
		"static, not bound": {change: func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "" }, doubt: "another claim"},
		"former claim":      {change: func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "v" }, doubt: "another claim"},
		"static":            {change: func(pv *corev1.PersistentVolume) { pv.Annotations = nil }, doubt: "neither"},
		"another restore": {change: func(pv *corev1.PersistentVolume) {
			pv.Labels, pv.Annotations = map[string]string{labelRestore: "r"}, nil
		}, doubt: "neither"},
		"was available": {change: func(pv *corev1.PersistentVolume) { pv.Annotations[annotationBoundByController] = "yes" }, doubt: "before its claim was bound"},
		"older":         {change: func(pv *corev1.PersistentVolume) { pv.CreationTimestamp = metav1.NewTime(began.Add(-time.Hour)) }, doubt: "before its claim was bound"},
		"same storage":  {change: func(pv *corev1.PersistentVolume) { pv.Spec.CSI.VolumeHandle = "original" }, doubt: "PersistentVolume original is the same volume"},
		"restored as it was": {change: func(pv *corev1.PersistentVolume) {
			pv.Labels, pv.Spec.CSI.VolumeHandle = map[string]string{labelRestore: restore}, "original"
		}, doubt: "PersistentVolume original is the same volume"},
		"restored as it was, and its volume lost": {change: func(pv *corev1.PersistentVolume) {
			pv.Labels, pv.Spec.CSI.VolumeHandle = map[string]string{labelRestore: restore}, "lost"
		}, doubt: "it is the volume that the backup is of"},
		"of no CSI driver": {change: func(pv *corev1.PersistentVolume) { pv.Spec.CSI = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			pv := volumeOf("pvc-u", "copy")
			pv.CreationTimestamp = began
			pv.Annotations = map[string]string{annotationProvisionedBy: "d"}
			pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID}
			c.change(pv)
			of := claim
			if c.gone {
				of = nil
			}
			err := made(pv, of, restore, others{
				all:       []*corev1.PersistentVolume{pv, volumeOf("original", "original")},
				originals: []string{"", stored(volumeOf("lost", "lost").Spec.CSI)},
			})
			if c.doubt == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.doubt)
		})
	}
}

func volumeOf(name, handle string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec:       corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: handle}}},
	}
}
