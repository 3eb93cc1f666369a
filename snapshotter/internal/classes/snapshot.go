package classes

import (
	"fmt"
	"slices"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
)

// Annotations and labels that decide which VolumeSnapshotClass is taken.
const (
	// VeleroClass is, as in Velero's own CSI support, the annotation by which a
	// claim chooses its class, the label by which a class offers itself, and with
	// _DRIVER behind it the annotation by which a Backup or a Schedule chooses.
	VeleroClass  = "velero.io/csi-volumesnapshot-class"
	defaultClass = "snapshot.storage.kubernetes.io/is-default-class"
)

// SnapshotWish is all that has a say in the choice of a VolumeSnapshotClass.
type SnapshotWish struct {
	Driver string
	Claim  map[string]string // annotations of the volume's claim
	// Backup are the annotations of the Velero Backup. Velero copies those of a
	// Schedule to the Backups it makes.
	Backup    map[string]string
	PerDriver map[string]string // setting snapshotClass.DRIVER
	General   string            // setting snapshotClass
}

// ForSnapshot chooses the VolumeSnapshotClass of a volume. The first that says
// something decides: the claim's annotation, the Backup's annotation for the
// driver, the location's class for the driver, the location's class if it is one
// of the driver, the class with Velero's label, the default class, the driver's
// only class. A class that is named, and is missing or another driver's, is an
// error.
func ForSnapshot(wish SnapshotWish, classes []*snapshotv1.VolumeSnapshotClass) (*snapshotv1.VolumeSnapshotClass, error) {
	if name, by := wish.named(); name != "" {
		return named(wish.Driver, classes, name, by)
	}
	if general := classOf(classes, wish.General); wish.General != "" && (general == nil || general.Driver == wish.Driver) {
		return named(wish.Driver, classes, wish.General, "the setting snapshotClass")
	}
	return offered(wish.Driver, classes)
}

// named returns the class that is named for the driver, and who names it.
func (w SnapshotWish) named() (name, by string) {
	if name := w.Claim[VeleroClass]; name != "" {
		return name, "the claim's annotation " + VeleroClass
	}
	// Velero looks for the driver's name in small letters.
	for _, driver := range []string{w.Driver, strings.ToLower(w.Driver)} {
		if name := w.Backup[VeleroClass+"_"+driver]; name != "" {
			return name, "the Backup's annotation " + VeleroClass + "_" + driver
		}
	}
	return w.PerDriver[w.Driver], "the setting snapshotClass." + w.Driver
}

// named returns the class that somebody named, which has to fit.
func named(driver string, classes []*snapshotv1.VolumeSnapshotClass, name, by string) (*snapshotv1.VolumeSnapshotClass, error) {
	class := classOf(classes, name)
	if class == nil {
		return nil, fmt.Errorf("no VolumeSnapshotClass %q, which %s names; %s", name, by, candidates(driver, classes))
	}
	if class.Driver != driver {
		return nil, fmt.Errorf("VolumeSnapshotClass %q, which %s names, is for driver %s, not %s; %s", name, by, class.Driver, driver, candidates(driver, classes))
	}
	return class, nil
}

// offered chooses among the driver's classes by what the classes say.
func offered(driver string, classes []*snapshotv1.VolumeSnapshotClass) (*snapshotv1.VolumeSnapshotClass, error) {
	own := ofDriver(driver, classes)
	for _, offer := range []struct {
		name string
		has  func(*snapshotv1.VolumeSnapshotClass) bool
	}{
		{"the label " + VeleroClass, func(c *snapshotv1.VolumeSnapshotClass) bool { _, has := c.Labels[VeleroClass]; return has }},
		{"the annotation " + defaultClass, func(c *snapshotv1.VolumeSnapshotClass) bool { return c.Annotations[defaultClass] == "true" }},
		{"driver " + driver, func(*snapshotv1.VolumeSnapshotClass) bool { return true }},
	} {
		chosen := slices.DeleteFunc(slices.Clone(own), func(c *snapshotv1.VolumeSnapshotClass) bool { return !offer.has(c) })
		if len(chosen) == 1 {
			return chosen[0], nil
		}
		if len(chosen) > 1 {
			return nil, fmt.Errorf("several VolumeSnapshotClasses have %s: %s; name one by the setting snapshotClass.%s or the claim's annotation %s",
				offer.name, names(chosen), driver, VeleroClass)
		}
	}
	return nil, fmt.Errorf("no VolumeSnapshotClass for driver %s; %s", driver, candidates(driver, classes))
}

func classOf(classes []*snapshotv1.VolumeSnapshotClass, name string) *snapshotv1.VolumeSnapshotClass {
	i := slices.IndexFunc(classes, func(c *snapshotv1.VolumeSnapshotClass) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return classes[i]
}

func ofDriver(driver string, classes []*snapshotv1.VolumeSnapshotClass) []*snapshotv1.VolumeSnapshotClass {
	return slices.DeleteFunc(slices.Clone(classes), func(c *snapshotv1.VolumeSnapshotClass) bool { return c.Driver != driver })
}

// candidates says which classes there are.
func candidates(driver string, classes []*snapshotv1.VolumeSnapshotClass) string {
	if own := ofDriver(driver, classes); len(own) > 0 {
		return fmt.Sprintf("the classes of driver %s are %s", driver, names(own))
	}
	if len(classes) == 0 {
		return "the cluster has no VolumeSnapshotClass at all: create one"
	}
	return fmt.Sprintf("the cluster has no class for driver %s, only %s: create one", driver, names(classes))
}

func names(classes []*snapshotv1.VolumeSnapshotClass) string {
	var all []string
	for _, c := range classes {
		all = append(all, fmt.Sprintf("%s (%s)", c.Name, c.Driver))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
