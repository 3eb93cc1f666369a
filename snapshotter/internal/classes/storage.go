package classes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// VeleroMapping selects the ConfigMap in Velero's namespace that holds Velero's
// own mapping of storage classes. Velero applies it to the objects it restores,
// but only after the volume has been made, so it is applied here too.
const VeleroMapping = "velero.io/plugin-config,velero.io/change-storage-class=RestoreItemAction"

const defaultStorageClass = "storageclass.kubernetes.io/is-default-class"

// StorageWish is all that has a say in the choice of a restore's StorageClass.
type StorageWish struct {
	Driver    string            // of the snapshot, by its present name
	Old       string            // the old volume's class, "" if it had none
	Mapped    map[string]string // setting storageClass.OLD
	Classless string            // for volumes that had no class: the setting "storageClass."
	Velero    *corev1.ConfigMap // what VeleroMapping selects, nil for none
}

// ForRestore chooses the StorageClass to restore a volume with: the one that the
// location, else Velero, maps its old class to, else the class of the old name.
// For a volume that had none it is that of the setting for such volumes, else the
// driver's only class, else its default class. It is an error if that class is
// missing or another driver's. warning says what the choice leads to, "" if to
// nothing special.
func ForRestore(wish StorageWish, classes []*storagev1.StorageClass) (class *storagev1.StorageClass, warning string, err error) {
	name, by, key := wish.named()
	own := slices.DeleteFunc(slices.Clone(classes), func(c *storagev1.StorageClass) bool { return c.Provisioner != wish.Driver })
	if name == "" {
		class, err := anyStorageClass(own, wish.Driver)
		return class, "", err
	}
	i := slices.IndexFunc(classes, func(c *storagev1.StorageClass) bool { return c.Name == name })
	if i < 0 {
		return nil, "", fmt.Errorf("no StorageClass %q, which %s names, in this cluster; driver %s has %s; the setting %s may name another",
			name, by, wish.Driver, storageClassNames(own), key)
	}
	if classes[i].Provisioner != wish.Driver {
		return nil, "", fmt.Errorf("StorageClass %q, which %s names, is for driver %s, but the snapshot is one of driver %s, which has %s; the setting %s may name another",
			name, by, classes[i].Provisioner, wish.Driver, storageClassNames(own), key)
	}
	return classes[i], wish.warning(name), nil
}

// named returns the name of the class that is asked for, who names it, and the
// setting that may name another.
func (w StorageWish) named() (name, by, key string) {
	key = "storageClass." + w.Old
	if w.Old == "" {
		return w.Classless, "the setting " + key, key
	}
	if name := w.Mapped[w.Old]; name != "" {
		return name, "the setting " + key, key
	}
	if name, by := w.mappedByVelero(); name != "" {
		return name, by, key
	}
	return w.Old, "the backup", key
}

func (w StorageWish) mappedByVelero() (name, by string) {
	if w.Velero == nil || w.Velero.Data[w.Old] == "" {
		return "", ""
	}
	return w.Velero.Data[w.Old], fmt.Sprintf("ConfigMap %s/%s (for %s)", w.Velero.Namespace, w.Velero.Name, w.Old)
}

// warning is about volumes whose PersistentVolume and claim will have another
// class than they were made with, since only Velero's mapping changes those.
func (w StorageWish) warning(name string) string {
	if w.Old == "" {
		return ""
	}
	borne, _ := w.mappedByVelero()
	if borne = cmp.Or(borne, w.Old); borne == name {
		return ""
	}
	return fmt.Sprintf("the volume is made with StorageClass %s, but its PersistentVolume and claim will say %s, and may not be expanded then: "+
		"map %s to %s in Velero's ConfigMap (labels %s) as well", name, borne, w.Old, name, VeleroMapping)
}

func anyStorageClass(own []*storagev1.StorageClass, driver string) (*storagev1.StorageClass, error) {
	if len(own) == 1 {
		return own[0], nil
	}
	i := slices.IndexFunc(own, func(c *storagev1.StorageClass) bool { return c.Annotations[defaultStorageClass] == "true" })
	if i < 0 {
		return nil, fmt.Errorf("the volume had no storage class, and of driver %s there are %s: none of them is the default or the only one; the setting \"storageClass.\" names one for such volumes", driver, storageClassNames(own))
	}
	return own[i], nil
}

func storageClassNames(classes []*storagev1.StorageClass) string {
	var all []string
	for _, class := range classes {
		all = append(all, class.Name)
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, ", "), "none")
}
