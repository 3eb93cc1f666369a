// Package ids holds the IDs that Velero carries from call to call: of volumes, of
// snapshots and of the volumes made from them, as text that this plugin alone
// writes and reads. [Keys] signs the IDs of snapshots.
//
// Backups live longer than releases. So each text names the version of its form,
// every version that was ever written stays readable, and a reader refuses what
// it does not know rather than obey a part of it.
package ids

import (
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
// to GetVolumeInfo and CreateSnapshot.
type VolumeID struct {
	Driver, Handle string
	PV             string // the PersistentVolume's name
	StorageClass   string // "" for a volume that has none
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

	// Since version 2.

	// AttributesClass is the source volume's VolumeAttributesClass, "" for none.
	AttributesClass string
	// Claim and PV are the source volume's claim and PersistentVolume, by which a
	// StorageClass may name secrets. Claim is empty for a volume without one.
	Claim ClaimRef
	PV    string
	// Secrets are those that the source volume was made and used with.
	Secrets Secrets
	// Group is the group snapshot that the snapshot is part of, if any.
	Group Group
}

// Group is a group snapshot: snapshots of several volumes taken at one moment,
// which a driver may allow to be deleted only together. The zero value is none.
type Group struct {
	Handle       string   // as the driver named it
	Members      []string // the handles of all its snapshots, the bearer's among them
	Class        string   // VolumeGroupSnapshotClass it was taken with
	DeleteSecret SecretRef
}

// NewVolumeID names a volume made from a snapshot. It goes from
// CreateVolumeFromSnapshot to SetVolumeID, in one restore of one Velero, and is
// never stored.
type NewVolumeID struct {
	Driver, Handle string
	// Staging is the name of the objects that the restore has made.
	Staging string
}

// ClaimRef names a PersistentVolumeClaim as a SecretRef does a Secret.
type ClaimRef = SecretRef

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
	t.add("attributesClass", id.AttributesClass)
	t.add("claim", id.Claim.String())
	t.add("pv", id.PV)
	for _, use := range SecretUses {
		t.add("secret."+use, id.Secrets[use].String())
	}
	t.add("group", id.Group.Handle)
	t.add("groupClass", id.Group.Class)
	t.add("groupSecret", id.Group.DeleteSecret.String())
	for _, member := range id.Group.Members {
		t.add("member", member)
	}
	return t.String()
}

func (id NewVolumeID) String() string {
	t := newIDText(newVolumeScheme, id.Driver, id.Handle)
	t.add("staging", id.Staging)
	return t.String()
}

// FormatSize writes a size in bytes as Kubernetes does.
func FormatSize(bytes int64) string {
	return resource.NewQuantity(bytes, resource.BinarySI).String()
}
