package snapshotter

import (
	"context"
	"maps"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// A call writes the ID of a snapshot into the journal before it removes the snapshot's
// content, with which the snapshot would go until then. A later call of the same backup
// may find the ID there. So whatever removes a content of a call that was killed in
// between leaves the snapshot, and nothing is returned whose content is still there.

// written are the IDs in the journal of the backup, by their keys.
func (c creation) written(ctx context.Context) (map[string]string, error) {
	pages, err := c.journal().Pages(ctx)
	all := map[string]string{}
	for _, page := range pages {
		if page.UID == c.backup.UID {
			maps.Copy(all, page.IDs)
		}
	}
	return all, err
}

// keepWritten removes the content that a killed call has left of a snapshot in the journal,
// or of its group, so that the snapshot can be returned.
func (c creation) keepWritten(ctx context.Context, id ids.SnapshotID) error {
	contents, err := c.kube.VolumeSnapshotContents.List(ctx, c.owner.Selector()+","+objects.LabelPurpose+"="+string(objects.Snapshot))
	if err != nil {
		return err
	}
	for _, content := range contents {
		if content.Labels[objects.LabelOperation] != "" || !objects.StandsFor(content, id.Driver, id.Handle) {
			continue
		}
		if err := c.singleContent(content).keep(ctx); err != nil {
			return err
		}
	}
	if id.Group.Handle == "" {
		return nil
	}
	return c.keepWrittenGroup(ctx, snapshotKey{id.Driver, id.Group.Handle})
}

func (c creation) keepWrittenGroup(ctx context.Context, group snapshotKey) error {
	api, contents, err := c.contentsOfGroups(ctx, c.owner.Selector()+","+objects.LabelPurpose+"="+string(objects.Group))
	if err != nil {
		return err
	}
	for _, content := range contents {
		if content.Labels[objects.LabelOperation] != "" || (snapshotKey{content.Spec.Driver, content.Status.Handle}) != group {
			continue
		}
		if err := c.groupContent(api, content).keep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inJournal tells whether the journal has an ID that is tells of. Such a snapshot was
// taken whole, and may be in a backup.
func (s *Snapshotter) inJournal(ctx context.Context, is func(id ids.SnapshotID) bool) (bool, error) {
	pages, err := s.journal().Pages(ctx)
	for _, page := range pages {
		for _, text := range page.IDs {
			if id, err := ids.ParseSnapshotID(text); err == nil && is(id) {
				return true, nil
			}
		}
	}
	return false, err
}

// removeTaken removes the content of a call that took what it stands for. That goes too,
// unless the call has written its ID down: a later call of the backup may then have been
// given it, and what becomes of it is for the journal to say.
func (c contentState[T]) removeTaken(ctx context.Context) error {
	taken := snapshotKey{c.status().Driver, c.status().Handle}
	known, err := c.s.inJournal(ctx, func(id ids.SnapshotID) bool { return taken.handle != "" && c.kind.key(id) == taken })
	switch {
	case err != nil:
		return err
	case known:
		return c.keep(ctx)
	}
	return c.delete(ctx)
}
