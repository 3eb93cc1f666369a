package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/journal"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// docs/architecture.md has these rules as a table.
const (
	// lateList is how long after the end of its backup a snapshot is kept that no list
	// names: a Velero that was replaced while its node was cut off may still store one.
	lateList = time.Hour
	// goneBackup is the same after the last snapshot of a backup of which is not known
	// when it ended: its object is gone, or does not say.
	goneBackup = 24 * time.Hour
)

// Phases of a Backup in which it has ended
// (https://velero.io/docs/main/api-types/backup/).
const (
	phaseCompleted       = "Completed"
	phasePartiallyFailed = "PartiallyFailed"
	phaseFailed          = "Failed"
)

var ended = []string{phaseCompleted, phasePartiallyFailed, phaseFailed}

// ending is how a backup of the journal has ended.
type ending struct {
	phase string    // "" if the Backup is gone
	final time.Time // from when on no list is stored any more; zero if it has not ended
}

// endingOf tells how the backup of a page has ended. backup is the object that has
// its name, nil if none has. Of a page without a UID it may be the backup or a later one:
// both rules hold then.
func endingOf(page journal.Page, backup *veleroBackup) ending {
	gone := page.Deadline.Add(goneBackup)
	if backup == nil || page.UID != "" && page.UID != backup.UID {
		return ending{final: gone}
	}
	end := backup.Status.CompletionTimestamp
	now := ending{phase: backup.Status.Phase}
	if !slices.Contains(ended, now.phase) {
		return now
	}
	if end != nil {
		now.final = end.Add(lateList)
	}
	// Velero writes no end where the backup could not be stored.
	if end == nil || page.UID == "" && now.final.Before(gone) {
		now.final = gone
	}
	return now
}

func (e ending) String() string {
	if e.phase == "" {
		return "the backup is gone"
	}
	return "the backup ended " + e.phase
}

// journalLeftovers finds the snapshots that are written down for a backup that is
// over. Where a page is for another process to inspect, it is not found.
func (s *Snapshotter) journalLeftovers(ctx context.Context) ([]Leftover, error) {
	if s.lists == nil {
		return nil, nil
	}
	pages, err := s.journal().Pages(ctx)
	if err != nil {
		return nil, err
	}
	var found []Leftover
	for _, page := range pages {
		of, err := s.inspect(ctx, page)
		switch {
		case errors.Is(err, ErrNotOpen):
		case err != nil:
			found = append(found, s.doubtful(page, err))
		default:
			found = append(found, of...)
		}
	}
	return found, nil
}

var errNoPlace = errors.New("its Backup or its storage location could not be read when the snapshots were taken; " +
	"say where its list would be by the annotations " + journal.AnnotationLocation + " and " + journal.AnnotationStore + " of the ConfigMap")

// inspect says what is done about the snapshots of a page. An error is a doubt. The list
// is read after the end of the backup is known, so that it is the last one.
func (s *Snapshotter) inspect(ctx context.Context, page journal.Page) ([]Leftover, error) {
	if page.Location == "" || page.Store == "" {
		return nil, errNoPlace
	}
	backup, err := s.findBackup(ctx, page.Backup.Name)
	if err != nil {
		return nil, err
	}
	end := endingOf(page, backup)
	if end.final.IsZero() || s.now().Before(end.final) || s.now().Before(page.Deadline) {
		return nil, nil
	}
	list, stored, err := s.lists.SnapshotIDs(ctx, page.Location, page.Store, page.Backup.Name)
	if err != nil {
		return nil, err
	}
	if !stored && (end.phase == phaseCompleted || end.phase == phasePartiallyFailed) {
		return nil, fmt.Errorf("%s, which says that it has stored its list of snapshots, and the list is not there", end)
	}
	return s.compare(page, end, list)
}

// compare tells the snapshots of a page that the list names from those that no list
// will ever name.
func (s *Snapshotter) compare(page journal.Page, end ending, list []string) (found []Leftover, err error) {
	named, err := keysOf(list)
	if err != nil {
		return nil, err
	}
	groups := map[snapshotKey]bool{}
	for _, id := range list {
		groups[groupKeyOf(id)] = true
	}
	var listed []string
	for _, call := range allOf(page) {
		key, err := keyOf(page.IDs[call])
		switch {
		case err != nil:
			return nil, err
		case named[key]:
			listed = append(listed, call)
		case groupKeyOf(page.IDs[call]).handle != "" && groups[groupKeyOf(page.IDs[call])]: // it goes with the others
			listed = append(listed, call)
		default:
			found = append(found, s.unnamed(page, end, call, key))
		}
	}
	if len(listed) > 0 {
		found = append(found, s.named(page, listed))
	}
	return found, nil
}

// allOf are the keys of a page's IDs, in their order.
func allOf(page journal.Page) (calls []string) {
	for call := range page.IDs {
		calls = append(calls, call)
	}
	slices.Sort(calls)
	return calls
}

func (s *Snapshotter) leftoverOf(page journal.Page, kind, name, remedy string, remove func(ctx context.Context) error) Leftover {
	return Leftover{
		Kind: kind, Name: name, Purpose: string(objects.Snapshot), Backup: page.Backup.Name,
		Since: s.now().Sub(page.Deadline), Remedy: remedy, remove: remove,
	}
}

func (s *Snapshotter) named(page journal.Page, calls []string) Leftover {
	return s.leftoverOf(page, "ConfigMap", page.Name(), "forget it: the backup has its snapshots", func(ctx context.Context) error {
		return s.journal().Remove(ctx, page, calls...)
	})
}

func (s *Snapshotter) unnamed(page journal.Page, end ending, call string, key snapshotKey) Leftover {
	stored, _, _ := ReadID(page.IDs[call]) // keyOf has read it
	remedy := fmt.Sprintf("remove it, of PersistentVolume %s: %s, and no stored list names it", cmp.Or(stored.PV, "(unknown)"), end)
	return s.leftoverOf(page, "Snapshot", ids.Short(key.handle), remedy, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, leftoverTimeout)
		defer cancel()
		id, err := s.parseSnapshotID(ctx, page.IDs[call])
		if err == nil {
			err = s.delete(ctx, id)
		}
		if err != nil {
			return err
		}
		return s.journal().Remove(ctx, page, call)
	})
}

func (s *Snapshotter) doubtful(page journal.Page, doubt error) Leftover {
	remedy := fmt.Sprintf("leave it: whether the backup has its snapshots cannot be told (%v)", doubt)
	left := s.leftoverOf(page, "ConfigMap", page.Name(), remedy, func(context.Context) error {
		return fmt.Errorf("whether backup %s has its %d snapshots cannot be told, so they are left alone: %w", page.Backup.Name, len(page.IDs), doubt)
	})
	left.Doubt = true
	return left
}
