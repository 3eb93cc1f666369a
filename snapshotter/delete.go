package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// DeleteSnapshot removes the snapshot from the storage. It returns nil only when
// the driver has confirmed that; a snapshot that is not there is confirmed too.
//
// A VolumeSnapshotContent that another tool has for the same snapshot is
// respected: the call fails and names it.
func (s *Snapshotter) DeleteSnapshot(ctx context.Context, snapshotID string) error {
	ctx, cancel := context.WithTimeout(ctx, s.settings.DeleteTimeout)
	defer cancel()
	id, err := s.parseSnapshotID(ctx, snapshotID)
	if err != nil {
		return err
	}
	err = s.delete(ctx, id)
	if errors.Is(err, errRemoved) { // by another call, which has deleted the snapshot or given up
		err = s.delete(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("delete snapshot %s of driver %s: %w", ids.Short(id.Handle), id.Driver, err)
	}
	s.noteDeleted(ctx, snapshotID)
	s.sweepOnce(ctx)
	return nil
}

func (s *Snapshotter) delete(ctx context.Context, id ids.SnapshotID) error {
	call := s.newCall(objects.Delete, s.settings.DeleteTimeout)
	log := s.logFor(call).WithField("snapshot", ids.Short(id.Handle)).WithField("driver", id.Driver)
	if slices.Contains(s.settings.AbandonedDrivers, id.Driver) {
		log.WithField("handle", id.Handle).Warn("the snapshot is given up and stays in the storage: its driver is among abandonedDrivers")
		return nil
	}
	if err := s.requireDriver(ctx, id.Driver); err != nil {
		return fmt.Errorf("%w; if it is gone for good, the setting abandonedDrivers: %s gives its snapshots up, so that the backup can be deleted", err, id.Driver)
	}
	begun, err := s.awaitOthers(ctx, id)
	if err != nil {
		return err
	}
	if begun != nil {
		return s.singleContent(begun).deleteBegun(ctx)
	}
	if id.Group.Handle != "" {
		return s.deleteMember(ctx, call, id)
	}
	list, err := s.kube.VolumeSnapshotClasses.List(ctx, "")
	if err != nil {
		return err
	}
	if id.DeleteSecret, err = classes.DeleteSecret(id, list, s.settings.SnapshotSecrets); err != nil {
		return err
	}
	wanted := s.staticContent(call, id, snapshotv1.VolumeSnapshotContentDelete, classes.LookupClass(id, list), id.ManagedBy)
	wanted.Finalizers = []string{objects.FinalizerContent}
	return s.singleContent(wanted).deleteByIt(ctx)
}

// deleteByIt makes the content, which is static, and deletes by it what it stands for.
func (c contentState[T]) deleteByIt(ctx context.Context) error {
	made, err := c.kind.Create(ctx, c.state)
	if err == nil {
		err = c.in(made).deleteFound(ctx)
	}
	if err != nil && !kube.Missing(made) {
		err = errors.Join(err, c.in(made).giveUp(ctx))
	}
	return err
}

// deleteBegun goes on with the deletion of another call. If it fails, and that call has
// ended, the content is given up: its class or its secret may be gone, and the next call
// makes its own.
func (c contentState[T]) deleteBegun(ctx context.Context) error {
	err := c.deleteFound(ctx)
	if deadline, _ := objects.DeadlineOf(c); err != nil && c.s.now().After(deadline) {
		err = errors.Join(err, c.giveUp(ctx))
	}
	return err
}

// awaitOthers waits until no other content in the cluster stands for the snapshot:
// two that delete one snapshot would wait for each other, and a restore under way
// still needs it. One that Velero follows goes at once, with the snapshot. It returns
// the content of a deletion that another call has begun, nil if there is none.
func (s *Snapshotter) awaitOthers(ctx context.Context, id ids.SnapshotID) (*snapshotv1.VolumeSnapshotContent, error) {
	contents := s.kube.VolumeSnapshotContents
	all, err := contents.List(ctx, "")
	if err != nil {
		return nil, explainMissingAPI(err)
	}
	for _, content := range all {
		if !objects.StandsFor(content, id.Driver, id.Handle) {
			continue
		}
		switch purpose := objects.PurposeOf(content); {
		case content.DeletionTimestamp != nil:
		case purpose == objects.Delete:
			return content, nil
		case content.Labels[objects.LabelOperation] != "" && content.Labels[objects.LabelVelero] == s.owner.Velero:
			if err := s.removeFollowed(ctx, content.Labels[objects.LabelOperation]); err != nil {
				return nil, err
			}
			continue
		case purpose == "":
			ref := content.Spec.VolumeSnapshotRef
			return nil, fmt.Errorf("%s (of VolumeSnapshot %s/%s) is of the same snapshot and not of this plugin's making: remove it first, with deletion policy Retain", s.describeContent(content.Name), ref.Namespace, ref.Name)
		}
		if err := contents.UntilGone(ctx, content); err != nil {
			return nil, fmt.Errorf("another content is of the same snapshot: %w", err)
		}
	}
	return nil, nil
}

// deleteFound deletes what a static content stands for, once the driver has found it. What
// the driver says is not there has nothing to delete.
func (c contentState[T]) deleteFound(ctx context.Context) error {
	found, err := c.waitFound(ctx)
	if err == nil {
		return c.in(found).delete(ctx)
	}
	if !isMissing(err) {
		return err
	}
	c.s.log.WithError(err).WithField("content", c.GetName()).Infof("the %s is not in the storage any more", c.what())
	return c.forget(ctx, c.notFound)
}

// finishDeletion ends the deletion of a call that was killed, unless something else needs
// one of the snapshots now.
func (c contentState[T]) finishDeletion(ctx context.Context) error {
	all, err := c.s.kube.VolumeSnapshotContents.List(ctx, "")
	if err != nil {
		return err
	}
	for _, other := range all {
		same := func(handle string) bool { return objects.StandsFor(other, c.status().Driver, handle) }
		if other.UID != c.GetUID() && slices.ContainsFunc(c.kind.known(c.state), same) {
			return &leftError{c.s.describeContent(other.Name) + " is of the same snapshot"}
		}
	}
	return c.deleteFound(ctx)
}

// waitFound waits until the driver has found what a static content stands for, or
// another call has gone on with it.
func (c contentState[T]) waitFound(ctx context.Context) (T, error) {
	ctx, errs := c.s.tolerate(ctx, c.s.log)
	defer errs.stop()
	return c.wait(ctx, errs, "the "+c.what()+" to be found", func(now T) (bool, error) {
		return c.in(now).status().Handle != "" || c.in(now).GetDeletionTimestamp() != nil, nil
	})
}
