package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"

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
	if err := s.delete(ctx, id); err != nil {
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
		return s.deleteFound(ctx, begun)
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
	content, err := s.kube.VolumeSnapshotContents.Create(ctx, wanted)
	if err == nil {
		err = s.deleteFound(ctx, content)
	}
	if err != nil && content != nil {
		err = errors.Join(err, s.singleContent(content).giveUp(ctx))
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

// deleteFound deletes the snapshot of a static content, once the driver has found
// it. One that the driver says is not there has nothing to delete.
func (s *Snapshotter) deleteFound(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	found, err := s.waitFound(ctx, content)
	if err == nil {
		return s.singleContent(found).delete(ctx)
	}
	if !isMissing(err) {
		return err
	}
	s.log.WithError(err).WithField("content", content.Name).Info("the snapshot is not in the storage any more")
	lost := s.singleContent(content)
	return lost.forget(ctx, lost.notFound)
}

// finishDeletion ends the deletion of a call that was killed, unless something else needs
// the snapshot now.
func (s *Snapshotter) finishDeletion(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	all, err := s.kube.VolumeSnapshotContents.List(ctx, "")
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.UID != content.UID && objects.StandsFor(other, content.Spec.Driver, *content.Spec.Source.SnapshotHandle) {
			return &leftError{s.describeContent(other.Name) + " is of the same snapshot"}
		}
	}
	return s.deleteFound(ctx, content)
}

// waitFound waits until the driver has found the snapshot of a static content, or
// another call has gone on with it.
func (s *Snapshotter) waitFound(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	ctx, errs := s.tolerate(ctx, s.log)
	defer errs.stop()
	return s.waitContent(ctx, content, errs, "the snapshot to be found", func(now *snapshotv1.VolumeSnapshotContent) (bool, error) {
		return objects.Handle(now) != "" || now.DeletionTimestamp != nil, nil
	})
}
