package pluginserver

import (
	"context"
	"io"
	"time"
)

// ObjectStore is what Velero asks of a backup storage location.
//
// A value serves one set of settings and never changes: a new Init makes a new
// value. Its methods MUST be safe for concurrent use.
//
// The context of each call ends when Velero goes away or gives up; the method
// MUST then stop and MUST NOT leave a partial result that looks whole.
// An error's text MUST stand alone, since nothing else crosses to Velero: it
// names the operation, bucket and key, the server's own answer, and what to do.
type ObjectStore interface {
	// PutObject stores body under key, replacing what was there. It returns
	// nil only when the whole body is stored. An error from body other than
	// io.EOF means that Velero failed or left: nothing may be committed then.
	// PutObject does not close body and may return before reading all of it.
	PutObject(ctx context.Context, bucket, key string, body io.Reader) error

	// ObjectExists reports whether key is there. A bucket that is missing or a
	// key that may not be read is an error, not "no".
	ObjectExists(ctx context.Context, bucket, key string) (bool, error)

	// GetObject opens key for reading. The context also bounds the reads. The
	// reader gives io.EOF only after the last byte of the object, and never
	// (0, nil), which Velero would take for the end. The caller closes it.
	GetObject(ctx context.Context, bucket, key string) (io.ReadCloser, error)

	// ListCommonPrefixes returns each distinct start of a key, from the first
	// character to the first delimiter behind prefix, delimiter included. The
	// list is complete, or there is an error: Velero deletes its record of
	// every backup that this list does not show.
	ListCommonPrefixes(ctx context.Context, bucket, prefix, delimiter string) ([]string, error)

	// ListObjects returns every key that starts with prefix, complete or with
	// an error, in reverse order, so that deleting in order removes the
	// contents of a pseudo-folder before the pseudo-folder.
	ListObjects(ctx context.Context, bucket, prefix string) ([]string, error)

	// DeleteObject removes key. A key that is not there is no error.
	DeleteObject(ctx context.Context, bucket, key string) error

	// CreateSignedURL returns a URL that lets its holder read key for ttl. The
	// URL is itself a secret.
	CreateSignedURL(ctx context.Context, bucket, key string, ttl time.Duration) (string, error)
}

// VolumeSnapshotter is what Velero asks of a volume snapshot location.
//
// As with ObjectStore, a value serves one set of settings, is safe for
// concurrent use, and its errors stand alone. The plugin process may be
// restarted between any two calls, so an ID carries all that the next call
// needs.
type VolumeSnapshotter interface {
	// CreateSnapshot takes a snapshot of the volume and returns its ID. tags
	// are the backup's labels plus velero.io/backup and velero.io/pv.
	// Repeating the call continues or returns the same snapshot.
	CreateSnapshot(ctx context.Context, volumeID, volumeAZ string, tags map[string]string) (string, error)

	// CreateVolumeFromSnapshot makes a new volume and returns its ID, to be
	// given to SetVolumeID. iops is nil when unknown.
	CreateVolumeFromSnapshot(ctx context.Context, snapshotID, volumeType, volumeAZ string, iops *int64) (string, error)

	// DeleteSnapshot removes the snapshot from the storage and returns when it
	// is gone. A snapshot that is not there is no error.
	DeleteSnapshot(ctx context.Context, snapshotID string) error

	// GetVolumeInfo returns the volume's type (its storage class) and its
	// IOPS, nil where the notion does not apply.
	GetVolumeInfo(ctx context.Context, volumeID, volumeAZ string) (string, *int64, error)

	// GetVolumeID returns the ID of the volume behind a PersistentVolume, given
	// and returned as JSON, or "" when this location does not take the volume:
	// Velero then tries the next one.
	GetVolumeID(ctx context.Context, persistentVolume []byte) (string, error)

	// SetVolumeID returns persistentVolume with its volume source replaced by
	// the volume that volumeID names.
	SetVolumeID(ctx context.Context, persistentVolume []byte, volumeID string) ([]byte, error)
}

// ItemAction is what Velero asks about the items of a backup, or of a restore, version 2:
// an item may begin an operation that Velero follows when its own work is done.
//
// Velero follows an operation from any process, also after a restart of its server.
type ItemAction interface {
	// AppliesTo returns the resources of the items, such as persistentvolumes.
	AppliesTo() []string

	// Execute is called with an item and its Backup or Restore, as JSON: before the item
	// is stored and a snapshot of it asked for, or before it is made. It returns the ID of the
	// operation that it begins, "" for none. An error leaves the item out.
	Execute(ctx context.Context, item, of []byte) (operation string, err error)

	// Progress says how far an operation is. An error ends it: as failed.
	Progress(ctx context.Context, operation string, of []byte) (Progress, error)

	// Cancel ends an operation that has lasted too long for Velero, for which it has
	// failed already.
	Cancel(ctx context.Context, operation string, of []byte) error
}

// Progress is how far an operation is.
type Progress struct {
	Done             bool
	Failure          string // why it has failed, "" if it has not
	Completed, Total int64
	Units            string // of which Completed and Total are numbers
	Description      string
	Started          time.Time // zero if not known
}
