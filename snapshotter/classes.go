package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// locationDrivers are the drivers that the location serves.
func (s *Snapshotter) locationDrivers() classes.Drivers {
	return classes.Drivers{Taken: s.settings.Drivers, Renamed: s.settings.RenamedDrivers}
}

// explainMissingAPI says what to install where the cluster lacks the snapshot API.
func explainMissingAPI(err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("the cluster has no CSI snapshot API (snapshot.storage.k8s.io/v1): install the CRDs and the controller of kubernetes-csi/external-snapshotter: %w", err)
	}
	return err
}

// snapshotClassFor chooses the VolumeSnapshotClass of a volume.
func (s *Snapshotter) snapshotClassFor(ctx context.Context, driver string, v source, backup string) (*snapshotv1.VolumeSnapshotClass, error) {
	list, err := s.kube.VolumeSnapshotClasses.List(ctx, "")
	if err != nil {
		return nil, explainMissingAPI(err)
	}
	wish := classes.SnapshotWish{Driver: driver, Backup: s.backupAnnotations(ctx, backup), PerDriver: s.settings.SnapshotClasses, General: s.settings.SnapshotClass}
	if v.claim != nil {
		wish.Claim = v.claim.Annotations
	}
	return classes.ForSnapshot(wish, list)
}

// backupAnnotations are those of a Velero Backup, none if it cannot be read.
func (s *Snapshotter) backupAnnotations(ctx context.Context, name string) map[string]string {
	if name == "" {
		return nil
	}
	raw, err := s.kube.Raw(ctx, fmt.Sprintf("/apis/velero.io/v1/namespaces/%s/backups/%s", s.owner.Velero, name), nil, nil)
	var backup metav1.PartialObjectMetadata
	if err == nil {
		err = json.Unmarshal(raw, &backup)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		s.log.WithError(err).WithField("backup", name).Warn("the Backup cannot be read; a VolumeSnapshotClass that its annotations choose does not count")
	}
	return backup.Annotations
}

// storageClassFor returns the class with which to restore a volume of the old
// class. It fails when that class is missing or is not the driver's, naming
// those that are.
func (s *Snapshotter) storageClassFor(ctx context.Context, old string, id ids.SnapshotID) (*storagev1.StorageClass, error) {
	list, err := s.kube.StorageClasses.List(ctx, objects.NotOurs)
	if err != nil {
		return nil, err
	}
	mapping, err := s.kube.ConfigMaps.In(s.owner.Velero).List(ctx, classes.VeleroMapping)
	if err != nil {
		return nil, fmt.Errorf("look for Velero's mapping of storage classes in namespace %s: %w", s.owner.Velero, err)
	}
	class, warning, err := classes.ForRestore(classes.StorageWish{
		Driver: id.Driver, Old: old, Mapped: s.settings.StorageClasses, Classless: s.settings.ClasslessStorage, ConfigMaps: mapping,
	}, list)
	if warning != "" {
		s.log.WithField("storageClass", class.Name).Warn(warning)
	}
	return class, err
}
