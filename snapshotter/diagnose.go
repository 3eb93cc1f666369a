package snapshotter

import (
	"context"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// Settings are the settings in effect; StagingNamespace is never empty there.
func (s *Snapshotter) Settings() Settings { return s.settings }

// ClassOf returns the VolumeSnapshotClass for the volumes of a driver whose
// claims name none.
func (s *Snapshotter) ClassOf(ctx context.Context, driver string) (*snapshotv1.VolumeSnapshotClass, error) {
	return s.snapshotClassFor(ctx, driver, source{}, veleroBackup{})
}

// GroupClassOf returns the VolumeGroupSnapshotClass by which groups of a driver's volumes
// are taken as one, and the version of its API. An error says why they are not.
func (s *Snapshotter) GroupClassOf(ctx context.Context, driver string) (class, version string, err error) {
	api, all, err := s.groupClasses(ctx)
	if err != nil {
		return "", "", err
	}
	chosen, _, err := chooseGroupClass(driver, veleroBackup{}, all)
	if err != nil {
		return "", "", err
	}
	return chosen.Name, api.Version, nil
}

// Provisioned returns nil if the PersistentVolume was made by the driver's
// provisioner for exactly this claim. Nothing may be done to one without that
// proof.
func Provisioned(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim, driver string) error {
	return objects.ClaimOf(claim, driver).Provisioned(pv)
}
