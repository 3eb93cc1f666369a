// Package ids holds the IDs that Velero carries from call to call: of volumes, of
// snapshots and of the volumes made from them, as text that this plugin alone
// writes and reads.
package ids

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// The schemes of the three kinds of ID. They differ, so that one can never be
// taken for another.
const (
	volumeScheme    = "csi-volume"
	snapshotScheme  = "csi"
	newVolumeScheme = "csi-new-volume"
)

// VolumeID names the volume behind a PersistentVolume. It goes from GetVolumeID
// to GetVolumeInfo and CreateSnapshot, and is kept in the backup.
type VolumeID struct {
	Driver, Handle string
	PV             string // the PersistentVolume's name
	StorageClass   string // "" for a volume made by hand
}

// SnapshotID holds all that a restore or a deletion needs to know of a snapshot,
// in this cluster or in another.
type SnapshotID struct {
	Driver, Handle string
	// Size in bytes of a volume made from the snapshot: the larger of the source
	// volume and what the driver says it needs.
	Size        int64
	Mode        corev1.PersistentVolumeMode
	AccessModes []corev1.PersistentVolumeAccessMode
	// Class is the VolumeSnapshotClass the snapshot was taken with.
	Class string
	// DeleteSecret and ListSecret are the secrets the driver needs to delete and
	// to look up the snapshot, if any.
	DeleteSecret, ListSecret SecretRef
	// ManagedBy is the node whose sidecar is in charge of the snapshot, for a
	// driver with a sidecar on each node.
	ManagedBy string
	// Topology is where the source volume can be reached.
	Topology Topology
}

// NewVolumeID describes a volume made from a snapshot. It goes from
// CreateVolumeFromSnapshot to SetVolumeID.
type NewVolumeID struct {
	Driver, Handle string
	// Staging is the name of the PersistentVolume that keeps the volume known
	// until Velero's own has it, "" if there is none.
	Staging    string
	Size       int64 // in bytes
	FSType     string
	Attributes map[string]string
	Topology   Topology
}

// SecretRef names a Secret, never its content. The zero value names none.
type SecretRef struct {
	Namespace, Name string
}

func (s SecretRef) String() string {
	if s == (SecretRef{}) {
		return ""
	}
	return s.Namespace + "/" + s.Name
}

func (id VolumeID) String() string {
	t := newIDText(volumeScheme, id.Driver, id.Handle)
	t.add("pv", id.PV)
	t.add("class", id.StorageClass)
	return t.String()
}

func (id SnapshotID) String() string {
	t := newIDText(snapshotScheme, id.Driver, id.Handle)
	t.add("size", FormatSize(id.Size))
	t.add("mode", string(id.Mode))
	for _, mode := range id.AccessModes {
		t.add("access", string(mode))
	}
	t.add("class", id.Class)
	t.add("deleteSecret", id.DeleteSecret.String())
	t.add("listSecret", id.ListSecret.String())
	t.add("managedBy", id.ManagedBy)
	for _, term := range id.Topology {
		t.add("topology", term.String())
	}
	return t.String()
}

func (id NewVolumeID) String() string {
	t := newIDText(newVolumeScheme, id.Driver, id.Handle)
	t.add("staging", id.Staging)
	t.add("size", FormatSize(id.Size))
	t.add("fsType", id.FSType)
	for _, term := range id.Topology {
		t.add("topology", term.String())
	}
	for _, name := range slices.Sorted(maps.Keys(id.Attributes)) {
		// An attribute may be empty, which no value may: it ends in a mark.
		t.add("attribute."+name, id.Attributes[name]+attributeEnd)
	}
	return t.String()
}

const attributeEnd = "."

func FormatSize(bytes int64) string {
	return resource.NewQuantity(bytes, resource.BinarySI).String()
}
