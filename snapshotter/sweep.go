package snapshotter

import (
	"context"
	"errors"
	"fmt"
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
	Remedy     string // what is done about it

	remove func(ctx context.Context) error
}

// leftError says what a removal has to leave for now.
type leftError struct{ what string }

func (e *leftError) Error() string { return e.what }

// FindLeftovers lists what the calls of this Velero have left. It goes by what the
// objects say of themselves alone: whose they are, and until when their call may
// run. Objects of another Velero, of a call under way, and such as only look like
// ours are not listed.
//
// A call hands its result to Velero only when all but a restore's record is gone or
// being deleted. So nobody knows of what is found here: a snapshot or volume behind
// it can go too. The record says itself whether Velero was given the volume.
func (s *Snapshotter) FindLeftovers(ctx context.Context) ([]Leftover, error) {
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
			found = s.appendRecord(found, record)
		}
	}
	for _, content := range contents {
		if !recorded[content.Name] {
			found = s.appendContent(found, content)
		}
	}
	return found, nil
}

// Sweep removes what FindLeftovers finds, and returns that. It goes on after an
// error.
func (s *Snapshotter) Sweep(ctx context.Context) ([]Leftover, error) {
	found, err := s.FindLeftovers(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, l := range found {
		if err := s.removeLeftover(ctx, l); err != nil {
			errs = append(errs, fmt.Errorf("sweep %s %s: %w", l.Kind, l.Name, err))
			continue
		}
		s.log.WithField("kind", l.Kind).WithField("name", l.Name).WithField("remedy", l.Remedy).Warn("removed what a call had left")
	}
	return found, errors.Join(errs...)
}

// leftoverTimeout bounds the removal of one object, so that the others have their
// turn.
const leftoverTimeout = 3 * time.Minute

func (s *Snapshotter) removeLeftover(ctx context.Context, l Leftover) error {
	ctx, cancel := context.WithTimeout(ctx, leftoverTimeout)
	defer cancel()
	return l.remove(ctx)
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

// appendLeftover adds an object, unless its call may still run or it is being
// deleted already: the controllers finish that by themselves.
func (s *Snapshotter) appendLeftover(found []Leftover, kind string, object metav1.Object, remedy string, remove func(ctx context.Context) error) []Leftover {
	deadline, err := objects.DeadlineOf(object)
	since := s.now().Sub(deadline)
	if err != nil || since <= s.settings.SweepAfter || object.GetDeletionTimestamp() != nil {
		return found
	}
	return append(found, Leftover{
		Kind: kind, Name: object.GetName(), Purpose: string(objects.PurposeOf(object)),
		Backup: object.GetAnnotations()[objects.AnnotationBackup], Since: since, Remedy: remedy, remove: remove,
	})
}

func (s *Snapshotter) appendContent(found []Leftover, content *snapshotv1.VolumeSnapshotContent) []Leftover {
	const kind = "VolumeSnapshotContent"
	source := content.Spec.Source
	switch purpose := objects.PurposeOf(content); {
	case purpose == objects.Snapshot && source.VolumeHandle != nil:
		return s.appendLeftover(found, kind, content, "remove it and its snapshot, which no backup has", func(ctx context.Context) error {
			return s.deleteWithSnapshot(ctx, content)
		})
	case purpose == objects.Delete && source.SnapshotHandle != nil:
		return s.appendLeftover(found, kind, content, "finish the deletion of its snapshot", func(ctx context.Context) error {
			return s.deleteFound(ctx, content)
		})
	case purpose == objects.Restore && source.SnapshotHandle != nil:
		return s.appendLeftover(found, kind, content, "remove it; the snapshot stays in the storage", func(ctx context.Context) error {
			return s.removeContent(ctx, content)
		})
	}
	return found
}

func (s *Snapshotter) appendRecord(found []Leftover, record *storagev1.StorageClass) []Leftover {
	const kind = "StorageClass"
	state := stateOf(record)
	if state.handedOver != "" {
		return s.appendLeftover(found, kind, record, "remove it; PersistentVolume "+state.handedOver+" has its volume "+ids.Short(state.handle), func(ctx context.Context) error {
			return s.finishHandOver(ctx, record)
		})
	}
	return s.appendLeftover(found, kind, record, "remove it and the volume of its restore, which nobody was given", func(ctx context.Context) error {
		return s.removeRestore(ctx, record)
	})
}
