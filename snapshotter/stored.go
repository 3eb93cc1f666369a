package snapshotter

import (
	"strings"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// Stored is what the ID of a snapshot tells a person who reads a backup.
type Stored struct {
	Driver, Handle string
	Size           int64  // in bytes, of a volume made from it
	Class          string // VolumeSnapshotClass it was taken with
	PV             string // of the source volume; "" in IDs of version 1
}

// ReadID reads the ID of a snapshot of this plugin. ours is false for one of
// another plugin. A signature is not checked: nothing may be done on the strength
// of what is returned.
func ReadID(text string) (_ Stored, ours bool, err error) {
	if !strings.HasPrefix(text, "csi://") {
		return Stored{}, false, nil
	}
	id, err := ids.ParseSnapshotID(text)
	return Stored{Driver: id.Driver, Handle: id.Handle, Size: id.Size, Class: id.Class, PV: id.PV}, true, err
}

// FormatSize writes a size in bytes as Kubernetes does, such as 10Gi.
func FormatSize(bytes int64) string { return ids.FormatSize(bytes) }
