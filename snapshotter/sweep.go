package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// Leftover is an object whose call has ended and did not remove it: the plugin was
// killed, or the driver was not done.
type Leftover struct {
	Kind, Name string
	Purpose    string // what it was made for: snapshot, restore or delete
	Backup     string // the backup it was made for, "" if unknown
	Since      time.Duration
	Remedy     string    // what is done about it
	Doubt      bool      // it is left alone, since what it is cannot be told
	Due        time.Time // when a sweep may remove it, zero if at any time

	remove func(ctx context.Context) error
}

// leftError says what a removal has to leave for now.
type leftError struct{ what string }

func (e *leftError) Error() string { return e.what }

// FindLeftovers lists what the calls of this Velero have left, with an error where it
// cannot look everywhere. It goes by what the objects say of themselves alone: whose
// they are, and until when their call may run. Objects of another Velero, of a call
// under way, and such as only look like ours are not listed.
//
// A call hands its result to Velero only when all but a restore's record is gone or
// being deleted. So nobody knows of what is found here: a snapshot or volume behind
// it can go too. The record says itself whether Velero was given the volume. Whether a
// backup has the snapshots that it was given is told by the journal and the stored list.
func (s *Snapshotter) FindLeftovers(ctx context.Context) ([]Leftover, error) {
	all, err := s.leftovers(ctx)
	return slices.DeleteFunc(all, s.isYoung), err
}

// FindYoung lists what will be a leftover, unless its call is still running and removes
// it: a later sweep may.
func (s *Snapshotter) FindYoung(ctx context.Context) ([]Leftover, error) {
	all, err := s.leftovers(ctx)
	return slices.DeleteFunc(all, func(l Leftover) bool { return !s.isYoung(l) }), err
}

func (s *Snapshotter) isYoung(l Leftover) bool { return !s.now().After(l.Due) }

func (s *Snapshotter) leftovers(ctx context.Context) ([]Leftover, error) {
	records, err := s.kube.StorageClasses.List(ctx, s.owner.Selector())
	if err != nil {
		return nil, fmt.Errorf("look for leftovers: %w", err)
	}
	contents, err := s.kube.VolumeSnapshotContents.List(ctx, s.owner.Selector())
	if err != nil && !apierrors.IsNotFound(err) { // a cluster may lack the snapshot API
		return nil, fmt.Errorf("look for leftovers: %w", err)
	}
	var found []Leftover
	recorded := map[string]bool{}
	for _, record := range records {
		if objects.PurposeOf(record) == objects.Restore {
			recorded[record.Name] = true
			remedy, remove := s.recordRemedy(record)
			found = s.appendLeftover(found, "StorageClass", record, remedy, remove)
		}
	}
	for _, content := range contents {
		if remedy, remove := s.contentRemedy(content); remove != nil && !recorded[content.Name] {
			found = s.appendLeftover(found, "VolumeSnapshotContent", content, remedy, remove)
		}
	}
	followed, errFollowed := s.followedLeftovers(ctx, contents)
	groups, errGroups := s.groupLeftovers(ctx)
	unnamed, err := s.journalLeftovers(ctx)
	return slices.Concat(found, followed, groups, unnamed), errors.Join(errFollowed, errGroups, err)
}

// Sweep removes what FindLeftovers finds, and returns that. It goes on after an
// error.
func (s *Snapshotter) Sweep(ctx context.Context) ([]Leftover, error) {
	found, err := s.FindLeftovers(ctx)
	errs := []error{err}
	for _, l := range found {
		if err := l.remove(ctx); err != nil {
			errs = append(errs, fmt.Errorf("sweep %s %s: %w", l.Kind, l.Name, err))
			continue
		}
		s.log.WithField("kind", l.Kind).WithField("name", l.Name).WithField("remedy", l.Remedy).Warn("removed what a call had left")
	}
	return found, errors.Join(errs...)
}

// swept makes each process sweep once.
var swept sync.Once

// sweepTimeout bounds a sweep in the background.
const sweepTimeout = 5 * time.Minute

// sweepOnce sweeps in the background, once in the life of the process, after a
// call that succeeded: the cluster is then well enough.
func (s *Snapshotter) sweepOnce(ctx context.Context) {
	if s.settings.SweepAfter == 0 {
		return
	}
	swept.Do(func() {
		go contained(s.log, "the sweep", func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepTimeout)
			defer cancel()
			if _, err := s.Sweep(ctx); err != nil {
				s.log.WithError(err).Warn("something that calls have left remains; velero-plugin-longshore sweep lists it")
			}
		})()
	})
}

// leftoverTimeout bounds the removal of one object, so that the others have their
// turn.
const leftoverTimeout = 3 * time.Minute

// appendLeftover adds an object, unless it is being deleted already: the controllers
// finish that by themselves.
func (s *Snapshotter) appendLeftover(found []Leftover, kind string, object metav1.Object, remedy string, remove func(context.Context) error) []Leftover {
	deadline, err := objects.DeadlineOf(object)
	if err != nil || object.GetDeletionTimestamp() != nil {
		return found
	}
	return append(found, Leftover{
		Kind: kind, Name: object.GetName(), Purpose: string(objects.PurposeOf(object)),
		Backup: object.GetAnnotations()[objects.AnnotationBackup], Remedy: remedy,
		Since: s.now().Sub(deadline), Due: deadline.Add(s.settings.SweepAfter),
		remove: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, leftoverTimeout)
			defer cancel()
			return remove(ctx)
		},
	})
}

// groupLeftovers finds the contents of groups.
func (s *Snapshotter) groupLeftovers(ctx context.Context) (found []Leftover, err error) {
	api, contents, err := s.contentsOfGroups(ctx, s.owner.Selector())
	if err != nil {
		return nil, fmt.Errorf("look for leftovers: %w", err)
	}
	var errs []error
	for _, content := range contents {
		remedy, remove, group := "", (func(context.Context) error)(nil), s.groupContent(api, content)
		switch purpose, known := objects.PurposeOf(content), content.Spec.Source.Handles != nil; {
		case content.Labels[objects.LabelOperation] != "":
			over, err := s.isOver(ctx, content)
			errs = append(errs, err)
			if over {
				remedy, remove = "remove it; its backup is over, and the group stays in the storage", group.keep
			}
		case purpose == objects.Group && !known:
			remedy, remove = "remove it, and its group unless the journal of a backup has it", group.removeTaken
		case purpose == objects.Delete && known:
			remedy, remove = "finish the deletion of its group", group.finishDeletion
		case purpose == objects.Restore && known:
			remedy, remove = "remove it; the group stays in the storage", func(ctx context.Context) error { return s.removeGroup(ctx, content) }
		}
		if remove != nil {
			found = s.appendLeftover(found, "VolumeGroupSnapshotContent", content, remedy, remove)
		}
	}
	return found, errors.Join(errs...)
}

// contentRemedy says what is done about a content of ours, and does it.
func (s *Snapshotter) contentRemedy(content *snapshotv1.VolumeSnapshotContent) (string, func(context.Context) error) {
	source, single := content.Spec.Source, s.singleContent(content)
	switch purpose := objects.PurposeOf(content); {
	case content.Labels[objects.LabelOperation] != "": // see followedLeftovers
	case purpose == objects.Snapshot && source.VolumeHandle != nil:
		return "remove it, and its snapshot unless the journal of a backup has it", single.removeTaken
	case purpose == objects.Delete && source.SnapshotHandle != nil:
		return "finish the deletion of its snapshot", single.finishDeletion
	case purpose == objects.Restore && source.SnapshotHandle != nil:
		return "remove it; the snapshot stays in the storage", func(ctx context.Context) error { return s.removeContent(ctx, content) }
	}
	return "", nil
}

// recordRemedy says what is done about a restore's record, and does it.
func (s *Snapshotter) recordRemedy(record *storagev1.StorageClass) (string, func(context.Context) error) {
	if state := stateOf(record); state.handedOver != "" {
		return "remove it; Velero was given its volume " + ids.Short(state.handle) + " for PersistentVolume " + state.handedOver, func(ctx context.Context) error { return s.finishHandOver(ctx, record) }
	}
	return "remove it and the volume of its restore, which nobody was given", func(ctx context.Context) error { return s.removeRestore(ctx, record) }
}
