package snapshotter

import (
	"context"
	"errors"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// CreateVolumeFromSnapshot makes a new volume from a snapshot and returns its
// ID. volumeType is the storage class of the old volume.
//
// The volume comes into being as that of a claim in the staging namespace. The
// claim names a StorageClass that is made for this call alone, a copy of the
// target class, so that it can be bound to no volume that was there before. Claim,
// PersistentVolume and StorageClass stay until [Snapshotter.SetVolumeID] hands the
// volume over. When the call fails, what the driver may still work for stays too:
// a sweep removes it, with the volume, when the driver is done.
func (s *Snapshotter) CreateVolumeFromSnapshot(ctx context.Context, snapshotID, volumeType, _ string, _ *int64) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.RestoreTimeout)
	defer cancel()
	id, err := s.parseSnapshotID(ctx, snapshotID)
	if err != nil {
		return "", err
	}
	volume, err := s.restore(ctx, id, volumeType)
	if err != nil {
		return "", fmt.Errorf("make a volume from snapshot %s of driver %s: %w", ids.Short(id.Handle), id.Driver, err)
	}
	s.sweepOnce(ctx)
	return volume.String(), nil
}

// restoration is one restore under way: what it goes by, and the objects made so
// far.
type restoration struct {
	*Snapshotter
	call   objects.Call
	id     ids.SnapshotID
	class  *storagev1.StorageClass         // the target, of which the call has a copy
	places [][]corev1.TopologySelectorTerm // where the volume may be, the best first; never empty
	node   string                          // the node whose sidecar serves the snapshot, "" for any
	lookup *string                         // the snapshot class with the secret for looking it up
	log    logrus.FieldLogger

	record   *storagev1.StorageClass    // the copy; it records the restore, see record.go
	group    *kube.GroupSnapshotContent // nil for a snapshot that is of none
	content  *snapshotv1.VolumeSnapshotContent
	snapshot *snapshotv1.VolumeSnapshot
	claim    *corev1.PersistentVolumeClaim
	volume   *corev1.PersistentVolume // proven to be the claim's
}

func (s *Snapshotter) restore(ctx context.Context, id ids.SnapshotID, oldClass string) (ids.NewVolumeID, error) {
	r, err := s.prepare(ctx, id, oldClass)
	if err != nil {
		return ids.NewVolumeID{}, err
	}
	if err := r.run(ctx); err != nil {
		return ids.NewVolumeID{}, errors.Join(err, r.abandon(ctx))
	}
	made := ids.NewVolumeID{Driver: r.volume.Spec.CSI.Driver, Handle: r.volume.Spec.CSI.VolumeHandle, Staging: r.call.Name()}
	r.log.WithField("handle", ids.Short(made.Handle)).Info("volume made")
	return made, nil
}

// prepare looks up all that a restore depends on, so that what is missing is
// told before anything is made.
func (s *Snapshotter) prepare(ctx context.Context, id ids.SnapshotID, oldClass string) (*restoration, error) {
	if err := s.requireDriver(ctx, id.Driver); err != nil {
		return nil, err
	}
	class, err := s.storageClassFor(ctx, oldClass, id)
	if err != nil {
		return nil, err
	}
	snapshotClasses, err := s.kube.VolumeSnapshotClasses.List(ctx, "")
	if err != nil {
		return nil, explainMissingAPI(err)
	}
	id.DeleteSecret = ids.SecretRef{} // a restore deletes nothing
	r := &restoration{Snapshotter: s, call: s.newCall(objects.Restore, s.settings.RestoreTimeout+handOverTimeout), id: id, class: class, lookup: classes.LookupClass(id, snapshotClasses)}
	r.log = s.logFor(r.call).WithFields(logrus.Fields{"snapshot": ids.Short(id.Handle), "driver": id.Driver, "storageClass": class.Name})
	return r, r.choosePlaces(ctx)
}

// RestoreClass returns the StorageClass that a restore of the snapshot would make for
// itself, or why it could not. It makes nothing. oldClass is that of the old volume.
func (s *Snapshotter) RestoreClass(ctx context.Context, snapshotID, oldClass string) (*storagev1.StorageClass, error) {
	id, err := s.parseSnapshotID(ctx, snapshotID)
	if err != nil {
		return nil, err
	}
	r, err := s.prepare(ctx, id, oldClass)
	if err != nil {
		return nil, err
	}
	return r.ownClass()
}

func (r *restoration) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{r.createRecord, r.importContent, r.importGroup, r.importSnapshot, r.provision} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(r.deleteImports(ctx, r.snapshot, r.content), r.removeGroup(ctx, r.group)); err != nil {
		r.log.WithError(err).Warn("staging objects of the snapshot are removed later, by a sweep")
	}
	return nil
}
