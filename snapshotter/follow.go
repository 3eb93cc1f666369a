package snapshotter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// Operations are those by which Velero follows snapshots that a storage finishes while
// the backup goes on. They are kept in memory: Velero asks for a volume's snapshot
// right after it has told of the volume, in the same process. In another one
// CreateSnapshot waits by itself.
type Operations struct {
	began    time.Time
	ids      sync.Map // by followed
	notes    sync.Map // DriverNotes, by driver, as this process last read or wrote them
	restored sync.Map // by restored
}

// NewOperations returns those of a process that began at a time.
func NewOperations(began time.Time) *Operations { return &Operations{began: began} }

// followed is a volume of a backup.
type followed struct{ backup, persistentVolume string }

// WithOperations returns the Snapshotter with the operations of its process.
func (s *Snapshotter) WithOperations(operations *Operations) *Snapshotter {
	with := *s
	with.begun = operations
	return &with
}

// Follow is told of a PersistentVolume, as JSON, before its snapshot is asked for. It
// returns the ID of the operation whose [Snapshotter.Progress] can be asked for when
// CreateSnapshot has returned, "" for a volume whose snapshot is not waited for.
func (s *Snapshotter) Follow(ctx context.Context, backup string, persistentVolume []byte) (operation string, err error) {
	pv, err := readVolume(persistentVolume)
	if err != nil {
		return "", err
	}
	if s.whyNot(&pv) != "" || !s.waitsFor(ctx, pv.Spec.CSI.Driver) {
		return "", nil
	}
	return s.begun.begin(backup, pv.Name), nil
}

// begin returns the operation for the snapshot of a volume in a backup, always the same.
func (o *Operations) begin(backup, persistentVolume string) string {
	begun, _ := o.ids.LoadOrStore(followed{backup, persistentVolume}, uuid.NewString())
	return begun.(string)
}

// join has the snapshot of a volume in a backup be of an operation of another volume.
func (o *Operations) join(backup, persistentVolume, operation string) {
	o.ids.Store(followed{backup, persistentVolume}, operation)
}

// operationOf returns the operation for the snapshot of a volume, "" if there is none.
func (s *Snapshotter) operationOf(backup, persistentVolume string) (operation string) {
	if s.begun != nil {
		begun, _ := s.begun.ids.Load(followed{backup, persistentVolume})
		operation, _ = begun.(string)
	}
	return operation
}

// waitsForReady tells whether the call has to wait until the snapshot can be restored.
func (c creation) waitsForReady() bool {
	return c.settings.WaitFor != WaitForHandle && c.operation == ""
}

// leave leaves a content to the operation: it is found by the label, and its snapshot
// does not go with it any more, since the backup is about to have it.
func (c creation) leave(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	unchanged := c.unchanged(content)
	_, err := c.kube.VolumeSnapshotContents.Edit(ctx, content, func(now *snapshotv1.VolumeSnapshotContent) (kube.Patch, error) {
		return followedBy(c.operation), unchanged(now)
	})
	if err != nil {
		return fmt.Errorf("leave the snapshot to the storage: %w", err)
	}
	c.log.WithField("operation", c.operation).Info("the storage is still at work on the snapshot; Velero follows it")
	return nil
}

// followedBy leaves a content to an operation.
func followedBy(operation string) kube.Patch {
	return kube.Patch{
		"metadata": map[string]any{"labels": map[string]string{objects.LabelOperation: operation}},
		"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentRetain},
	}
}
