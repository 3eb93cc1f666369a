// Package classes chooses the VolumeSnapshotClass of a snapshot and the
// StorageClass of a restore, and the secrets that a driver is given by them.
//
// All of it is pure: the lists of classes are the caller's, who leaves out of
// them the StorageClasses that restores make. A restore or a deletion first asks
// [Drivers.Present] by which name, if any, the location serves the driver of the
// snapshot's ID, and puts that name into the ID.
//
// What an ID says comes from a bucket. It decides nothing here but which of the
// cluster's own choices is taken: a class or a secret that only an ID names is
// never used.
package classes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Drivers are the CSI drivers that a location serves.
type Drivers struct {
	Taken   []string          // setting drivers; empty takes all
	Renamed map[string]string // setting driver.OLD: NEW
}

// Takes tells whether the location serves volumes of the driver.
func (d Drivers) Takes(driver string) bool {
	return len(d.Taken) == 0 || slices.Contains(d.Taken, driver)
}

// Present returns the name by which the driver of a snapshot or of an old
// PersistentVolume is known now, and an error if the location does not serve it.
func (d Drivers) Present(driver string) (string, error) {
	present := cmp.Or(d.Renamed[driver], driver)
	if d.Takes(present) {
		return present, nil
	}
	name := driver
	if present != driver {
		name = fmt.Sprintf("%s (by the setting driver.%s, %s)", driver, driver, present)
	}
	return "", fmt.Errorf("driver %s is not one of those that this location serves (setting drivers: %s)", name, strings.Join(d.Taken, ", "))
}
