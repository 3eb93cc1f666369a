package snapshotter

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
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
