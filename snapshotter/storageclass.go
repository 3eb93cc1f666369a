package snapshotter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// Velero's own mapping of storage classes stands in a ConfigMap in its namespace
// with these labels. Velero applies it to the objects it restores, but only
// after the volume has been made, so it is applied here too.
const (
	labelPluginConfig  = "velero.io/plugin-config"
	labelClassMapping  = "velero.io/change-storage-class"
	classMappingKind   = "RestoreItemAction"
	annotationDefaultS = "storageclass.kubernetes.io/is-default-class"
)

// storageClassFor returns the class with which to restore a volume of the old
// class. It fails when that class is missing or is not the driver's, naming
// those that are.
func (s *Snapshotter) storageClassFor(ctx context.Context, old, driver string) (*storagev1.StorageClass, error) {
	classes, err := s.listStorageClasses(ctx)
	if err != nil {
		return nil, err
	}
	name, by, err := s.mappedClass(ctx, old)
	if err != nil {
		return nil, err
	}
	return chooseStorageClass(classes, name, by, driver)
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

// mappedClass returns the name of the class that stands for old, and who says so.
func (s *Snapshotter) mappedClass(ctx context.Context, old string) (name, by string, err error) {
	if old == "" {
		return "", "", nil
	}
	if name := s.settings.StorageClasses[old]; name != "" {
		return name, "the setting storageClass." + old, nil
	}
	selector := fmt.Sprintf("%s,%s=%s", labelPluginConfig, labelClassMapping, classMappingKind)
	maps, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.ConfigMapList, error) {
		return s.kube.ConfigMaps(s.velero).List(ctx, metav1.ListOptions{LabelSelector: selector})
	})
	if err != nil {
		return "", "", fmt.Errorf("look for Velero's mapping of storage classes in namespace %s: %w", s.velero, err)
	}
	for _, m := range maps.Items {
		if name := m.Data[old]; name != "" {
			return name, fmt.Sprintf("ConfigMap %s/%s (for %s)", m.Namespace, m.Name, old), nil
		}
	}
	return old, "the backup", nil
}

// chooseStorageClass returns the class of that name. A volume that was made by
// hand has none: then the driver's only or default class serves.
func chooseStorageClass(classes []storagev1.StorageClass, name, by, driver string) (*storagev1.StorageClass, error) {
	own := slices.DeleteFunc(slices.Clone(classes), func(c storagev1.StorageClass) bool { return c.Provisioner != driver })
	if name == "" {
		return anyStorageClass(own, driver)
	}
	i := slices.IndexFunc(classes, func(c storagev1.StorageClass) bool { return c.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no StorageClass %q, which %s names, in this cluster; driver %s has %s; the setting storageClass.%s may name another", name, by, driver, storageClassNames(own), name)
	}
	if classes[i].Provisioner != driver {
		return nil, fmt.Errorf("StorageClass %q, which %s names, is for driver %s, but the snapshot is one of driver %s, which has %s; the setting storageClass.%s may name another",
			name, by, classes[i].Provisioner, driver, storageClassNames(own), name)
	}
	return &classes[i], nil
}

func anyStorageClass(own []storagev1.StorageClass, driver string) (*storagev1.StorageClass, error) {
	if len(own) == 1 {
		return &own[0], nil
	}
	i := slices.IndexFunc(own, func(c storagev1.StorageClass) bool { return c.Annotations[annotationDefaultS] == "true" })
	if i < 0 {
		return nil, fmt.Errorf("the volume had no storage class, and of driver %s there are %s: none of them is the default or the only one", driver, storageClassNames(own))
	}
	return &own[i], nil
}

func storageClassNames(classes []storagev1.StorageClass) string {
	if len(classes) == 0 {
		return "none"
	}
	var all []string
	for i := range classes {
		all = append(all, classes[i].Name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func waitsForConsumer(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}
