package snapshotter

import (
	"context"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
)

// listClasses lists the cluster's VolumeSnapshotClasses. It is the first call to
// the snapshot API, and tells where that is not installed.
func (s *Snapshotter) listClasses(ctx context.Context) ([]snapshotv1.VolumeSnapshotClass, error) {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotClassList, error) {
		return s.kube.VolumeSnapshotClasses().List(ctx, metav1.ListOptions{})
	})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the cluster has no CSI snapshot API (snapshot.storage.k8s.io/v1): install the CRDs and the controller of kubernetes-csi/external-snapshotter: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotClasses: %w", err)
	}
	return list.Items, nil
}

func (s *Snapshotter) classFor(ctx context.Context, driver string, v source) (*snapshotv1.VolumeSnapshotClass, error) {
	list, err := s.listClasses(ctx)
	if err != nil {
		return nil, err
	}
	return classes.ForSnapshot(s.snapshotWish(driver, v.claim.Annotations), list)
}

func (s *Snapshotter) snapshotWish(driver string, claim map[string]string) classes.SnapshotWish {
	return classes.SnapshotWish{Driver: driver, Claim: claim, PerDriver: s.settings.SnapshotClasses, General: s.settings.SnapshotClass}
}

// storageClassFor returns the class with which to restore a volume of the old
// class. It fails when that class is missing or is not the driver's, naming
// those that are.
func (s *Snapshotter) storageClassFor(ctx context.Context, old, driver string) (*storagev1.StorageClass, error) {
	list, err := s.listStorageClasses(ctx)
	if err != nil {
		return nil, err
	}
	mapping, err := s.veleroMapping(ctx)
	if err != nil {
		return nil, err
	}
	choice, err := classes.ForRestore(classes.StorageWish{
		Driver: driver, Old: old, Mapped: s.settings.StorageClasses, Classless: s.settings.ClasslessStorage, ConfigMaps: mapping,
	}, list)
	if choice.Warning != "" {
		s.log.WithField("storageClass", choice.Class.Name).Warn(choice.Warning)
	}
	return choice.Class, err
}

func (s *Snapshotter) listStorageClasses(ctx context.Context) ([]storagev1.StorageClass, error) {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*storagev1.StorageClassList, error) {
		return s.kube.StorageClasses().List(ctx, metav1.ListOptions{})
	})
	if err != nil {
		return nil, fmt.Errorf("list StorageClasses: %w", err)
	}
	return list.Items, nil
}

func (s *Snapshotter) veleroMapping(ctx context.Context) ([]corev1.ConfigMap, error) {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.ConfigMapList, error) {
		return s.kube.ConfigMaps(s.velero).List(ctx, metav1.ListOptions{LabelSelector: classes.VeleroMapping})
	})
	if err != nil {
		return nil, fmt.Errorf("look for Velero's mapping of storage classes in namespace %s: %w", s.velero, err)
	}
	return list.Items, nil
}

// locationDrivers are the drivers that the location serves.
func (s *Snapshotter) locationDrivers() classes.Drivers {
	return classes.Drivers{Taken: s.settings.Drivers, Renamed: s.settings.RenamedDrivers}
}

func waitsForConsumer(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}
