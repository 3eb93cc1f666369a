package snapshotter

import (
	"context"
	"fmt"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/longshore-dev/velero-plugin/internal/kube"
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
func (s *Snapshotter) snapshotClassFor(ctx context.Context, driver string, v source, backup veleroBackup) (*snapshotv1.VolumeSnapshotClass, error) {
	list, err := s.kube.VolumeSnapshotClasses.List(ctx, "")
	if err != nil {
		return nil, explainMissingAPI(err)
	}
	wish := classes.SnapshotWish{Driver: driver, Backup: backup.Annotations, PerDriver: s.settings.SnapshotClasses, General: s.settings.SnapshotClass}
	if v.claim != nil {
		wish.Claim = v.claim.Annotations
	}
	return classes.ForSnapshot(wish, list)
}

// MappingLabels are those of the ConfigMap with Velero's own mapping of storage
// classes.
const MappingLabels = classes.VeleroMapping

// VeleroMapping returns the ConfigMap in Velero's namespace with its own mapping of
// storage classes, new names by old ones; nil if there is none. Velero restores no
// volume, claim or StatefulSet where there are several (Velero,
// pkg/plugin/framework/common/plugin_config.go), so that is an error.
func VeleroMapping(ctx context.Context, client *kube.Client, namespace string) (*corev1.ConfigMap, error) {
	found, err := client.ConfigMaps.In(namespace).List(ctx, MappingLabels)
	if err != nil {
		return nil, fmt.Errorf("look for Velero's mapping of storage classes in namespace %s: %w", namespace, err)
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	var names []string
	for _, m := range found {
		names = append(names, m.Name)
	}
	return nil, fmt.Errorf("several ConfigMaps in namespace %s map storage classes (labels %s): %s; Velero restores no volume and no claim then: keep one of them",
		namespace, MappingLabels, strings.Join(names, ", "))
}

// storageClassFor returns the class with which to restore a volume of the old
// class. It fails when that class is missing or is not the driver's, naming
// those that are.
func (s *Snapshotter) storageClassFor(ctx context.Context, old string, id ids.SnapshotID) (*storagev1.StorageClass, error) {
	list, err := s.kube.StorageClasses.List(ctx, objects.NotOurs)
	if err != nil {
		return nil, err
	}
	mapping, err := VeleroMapping(ctx, s.kube, s.owner.Velero)
	if err != nil {
		return nil, err
	}
	class, warning, err := classes.ForRestore(classes.StorageWish{
		Driver: id.Driver, Old: old, Mapped: s.settings.StorageClasses, Classless: s.settings.ClasslessStorage, Velero: mapping,
	}, list)
	if warning != "" {
		s.log.WithField("storageClass", class.Name).Warn(warning)
	}
	return class, err
}
