package snapshotter

import (
	"context"
	"errors"
	"fmt"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/journal"
)

// StoredLists reads the lists of snapshots that Velero has stored with its backups.
type StoredLists interface {
	// SnapshotIDs returns the IDs in the list of a backup. stored is false if the
	// location surely has no list for it; what leaves that open is an error. location
	// is the name of the backup storage location, store what it has to be, see
	// StoreName. The error is ErrNotOpen where the location is for others to read.
	SnapshotIDs(ctx context.Context, location, store, backup string) (ids []string, stored bool, err error)
}

// ErrNotOpen says that this process does not read a location.
var ErrNotOpen = errors.New("the location is not open in this process")

// WithLists returns the Snapshotter with what its sweep needs to judge snapshots by.
// Without lists it leaves the journal as it is.
func (s *Snapshotter) WithLists(lists StoredLists) *Snapshotter {
	with := *s
	with.lists = lists
	return &with
}

func (s *Snapshotter) journal() journal.Journal {
	return journal.Journal{ConfigMaps: s.kube.ConfigMaps.In(s.owner.Velero), Namespace: s.owner.Velero, Owner: s.owner}
}

// writeDown writes a snapshot into the journal of its backup.
func (c creation) writeDown(ctx context.Context, id string) error {
	backup := journal.Backup{Name: c.call.Backup, UID: c.backup.UID, Location: c.backup.Spec.StorageLocation}
	if backup.Location != "" {
		var err error
		if backup.Store, err = c.storeOf(ctx, backup.Location); err != nil {
			c.log.WithError(err).Warn("the backup storage location cannot be read; if Velero dies before it has stored its list, no sweep can tell whether the snapshot is in it")
		}
	}
	if err := c.journal().Add(ctx, backup, c.call, c.key, id); err != nil {
		return fmt.Errorf("write down the snapshot, so that it is found if Velero dies: %w", err)
	}
	return nil
}

// snapshotKey is what tells snapshots apart, whatever else their IDs say, and groups.
type snapshotKey struct{ driver, handle string }

// groupKeyOf is the key of a snapshot's group; its handle is "" for one that is of none.
func groupKeyOf(id string) snapshotKey {
	parsed, _ := ids.ParseSnapshotID(id) // the zero value for another's ID
	return snapshotKey{parsed.Driver, parsed.Group.Handle}
}

func keyOf(id string) (snapshotKey, error) {
	parsed, err := ids.ParseSnapshotID(id)
	return snapshotKey{parsed.Driver, parsed.Handle}, err
}

// keysOf are the snapshots of this plugin in the list of a backup.
func keysOf(list []string) (map[snapshotKey]bool, error) {
	keys := map[snapshotKey]bool{}
	for _, id := range list {
		if _, ours, _ := ReadID(id); !ours {
			continue
		}
		key, err := keyOf(id)
		if err != nil {
			return nil, fmt.Errorf("the stored list of snapshots has an ID that cannot be read: %w", err)
		}
		keys[key] = true
	}
	return keys, nil
}

// NoteStored takes the snapshots out of the journal that the stored list of a backup
// names: Velero's own deletion knows them now.
func (s *Snapshotter) NoteStored(ctx context.Context, backup string, list []string) error {
	named, err := keysOf(list)
	if err != nil {
		return err
	}
	return s.takeOut(ctx, func(page journal.Page, key snapshotKey) bool { return page.Backup.Name == backup && named[key] })
}

// noteDeleted takes a snapshot out of the journal that is gone.
func (s *Snapshotter) noteDeleted(ctx context.Context, id string) {
	if err := s.takeOutIDs(ctx, id); err != nil {
		s.log.WithError(err).Info("a deleted snapshot stays in the journal until a sweep")
	}
}

// takeOutIDs takes the snapshots of these IDs out of the journal; "" is none.
func (s *Snapshotter) takeOutIDs(ctx context.Context, list ...string) error {
	keys, err := keysOf(list)
	if err != nil || len(keys) == 0 {
		return err
	}
	return s.takeOut(ctx, func(_ journal.Page, key snapshotKey) bool { return keys[key] })
}

// takeOut takes those snapshots out of the journal that known tells. An ID that
// cannot be read stays.
func (s *Snapshotter) takeOut(ctx context.Context, known func(page journal.Page, key snapshotKey) bool) error {
	pages, err := s.journal().Pages(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, page := range pages {
		var calls []string
		for call, id := range page.IDs {
			if key, err := keyOf(id); err == nil && known(page, key) {
				calls = append(calls, call)
			}
		}
		if len(calls) > 0 {
			errs = append(errs, s.journal().Remove(ctx, page, calls...))
		}
	}
	return errors.Join(errs...)
}
