package snapshotter

import (
	"context"
	"maps"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// Settings are the settings in effect.
func (s *Snapshotter) Settings() Settings { return s.settings }

// StagingNamespace is where the objects of a restore stand while it runs.
func (s *Snapshotter) StagingNamespace() string { return s.staging }

// ClassOf returns the VolumeSnapshotClass for the volumes of a driver whose
// claims name none.
func (s *Snapshotter) ClassOf(ctx context.Context, driver string) (*snapshotv1.VolumeSnapshotClass, error) {
	return s.snapshotClassFor(ctx, driver, source{}, "")
}

// Provisioned returns nil if the PersistentVolume was made by the driver's
// provisioner for exactly this claim. Nothing may be done to one without that
// proof.
func Provisioned(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim, driver string) error {
	return objects.ClaimOf(claim, driver).Provisioned(pv)
}

// TrialClass is a copy of a StorageClass under another name, whose claims are
// bound at once, and to no volume that was there before.
func TrialClass(class *storagev1.StorageClass, name string, labels map[string]string) *storagev1.StorageClass {
	return ownClass(class, metav1.ObjectMeta{Name: name, Labels: maps.Clone(labels)}, corev1.PersistentVolumeReclaimDelete)
}
