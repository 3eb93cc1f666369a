package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// lookAgain is after which time a snapshot that is not ready is asked for by a new
// content. csi-snapshotter before 7.0 looks at the old one only every 15 minutes.
const lookAgain = 15 * time.Second

// importContent makes the snapshot known to the cluster, and waits until the
// driver has found it ready to restore.
func (r *restoration) importContent(ctx context.Context) error {
	ctx, errs := r.tolerate(ctx, r.log)
	defer errs.stop()
	for {
		wanted := r.staticContent(r.call, r.id, snapshotv1.VolumeSnapshotContentRetain, r.lookup, r.node)
		content, err := r.kube.VolumeSnapshotContents.Create(ctx, wanted)
		if err != nil {
			return err
		}
		soon, cancel := context.WithTimeout(ctx, lookAgain)
		r.content, err = r.singleContent(content).wait(soon, errs, "the snapshot to be ready to restore", func(now *snapshotv1.VolumeSnapshotContent) (bool, error) {
			return objects.Handle(now) != "" && objects.Ready(now) && now.DeletionTimestamp == nil, nil
		})
		cancel()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if err := r.removeContent(ctx, content); err != nil {
			return err
		}
	}
}

// FindSnapshot asks the driver for the snapshot of an ID, or for that of another
// handle, unless it is "". It returns nil if the driver says that there is none. Of a
// driver that cannot list snapshots csi-snapshotter says that each one is ready.
func (s *Snapshotter) FindSnapshot(ctx context.Context, snapshotID, handle string) (*snapshotv1.VolumeSnapshotContentStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.RestoreTimeout)
	defer cancel()
	id, err := s.parseSnapshotID(ctx, snapshotID)
	if err == nil {
		err = s.requireDriver(ctx, id.Driver)
	}
	if err != nil {
		return nil, err
	}
	id.Handle = cmp.Or(handle, id.Handle)
	return s.lookUp(ctx, id)
}

// lookUp asks the driver for a snapshot. It returns nil if the driver says that there is
// none.
func (s *Snapshotter) lookUp(ctx context.Context, id ids.SnapshotID) (*snapshotv1.VolumeSnapshotContentStatus, error) {
	id.DeleteSecret = ids.SecretRef{} // nothing is deleted
	list, err := s.kube.VolumeSnapshotClasses.List(ctx, "")
	if err != nil {
		return nil, explainMissingAPI(err)
	}
	wanted := s.staticContent(s.newCall(objects.Restore, s.settings.RestoreTimeout), id, snapshotv1.VolumeSnapshotContentRetain, classes.LookupClass(id, list), id.ManagedBy)
	content, err := s.kube.VolumeSnapshotContents.Create(ctx, wanted)
	if err != nil {
		return nil, err
	}
	found, err := s.singleContent(content).waitFound(ctx)
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if left := s.removeContent(clean, content); left != nil || isMissing(err) {
		return nil, left
	}
	if err == nil && objects.Handle(found) == "" {
		err = fmt.Errorf("%s was deleted by someone else", s.describeContent(content.Name))
	}
	if err != nil {
		return nil, err
	}
	return found.Status, nil
}

// removeContent removes a content whose snapshot stays in the storage.
func (s *Snapshotter) removeContent(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	if err := s.deleteImports(ctx, nil, content); err != nil {
		return err
	}
	return s.kube.VolumeSnapshotContents.UntilGone(ctx, content)
}

// importGroup makes the group of the snapshot known to the cluster, if there is one:
// snapshot-controller binds no VolumeSnapshot of a group that it does not know
// (https://github.com/vmware-tanzu/velero/issues/9512). A driver that does not tell the
// group of a snapshot can do without, so that a failure is only logged.
func (r *restoration) importGroup(ctx context.Context) error {
	if r.id.Group.Handle == "" {
		return nil
	}
	soon, cancel := context.WithTimeout(ctx, r.beginTimeout)
	defer cancel()
	api, all, err := r.groupClasses(soon)
	if err == nil {
		id := r.id
		id.Group.DeleteSecret = ids.SecretRef{} // a restore deletes nothing
		r.group, err = api.Contents.Create(soon, r.staticGroup(r.call, id, snapshotv1.VolumeSnapshotContentRetain, classes.GroupLookupClass(id, all)))
	}
	if err == nil {
		_, err = r.groupContent(api, r.group).waitFound(soon)
	}
	if err != nil {
		r.log.WithError(err).Warn("the group of the snapshot is not known to the cluster; the restore goes on without it")
	}
	return nil
}

// removeGroup removes the content of a restore's group, which stays in the storage; nil
// stands for none.
func (s *Snapshotter) removeGroup(ctx context.Context, group *kube.GroupSnapshotContent) error {
	if group == nil {
		return nil
	}
	api, err := s.kube.GroupSnapshots(ctx)
	if err != nil || api == nil {
		return err
	}
	_, err = api.Contents.Delete(ctx, group, func(now *kube.GroupSnapshotContent) (kube.Patch, error) {
		if now.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain || objects.PurposeOf(now) != objects.Restore {
			return nil, fmt.Errorf("%s was changed by someone else, and is left alone", api.Contents.Describe(now.Name))
		}
		return annotate(map[string]string{objects.AnnotationGroupBeingDeleted: "yes"}), nil
	})
	return err
}

// importSnapshot makes the VolumeSnapshot that the claim names as its source.
func (r *restoration) importSnapshot(ctx context.Context) error {
	ctx, errs := r.tolerate(ctx, r.log)
	defer errs.stop()
	client := r.kube.VolumeSnapshots.In(r.settings.StagingNamespace)
	var err error
	r.snapshot, err = client.Create(ctx, &snapshotv1.VolumeSnapshot{
		ObjectMeta: r.call.Meta(r.settings.StagingNamespace),
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{VolumeSnapshotContentName: &r.content.Name}},
	})
	if err != nil {
		return err
	}
	target := kube.Target{Name: r.snapshot.Name, Object: client.Describe(r.snapshot.Name), Until: "snapshot-controller to bind it"}
	_, err = client.Until(ctx, target, r.snapshot, func(now *snapshotv1.VolumeSnapshot) (bool, string, error) {
		if now == nil || now.DeletionTimestamp != nil {
			return false, "", errors.New("the staging VolumeSnapshot was deleted by someone else")
		}
		status := ptr.Deref(now.Status, snapshotv1.VolumeSnapshotStatus{})
		message := objects.ErrorText(status.Error)
		errs.report(message)
		return ptr.Deref(status.ReadyToUse, false), message, nil
	})
	return err
}

// deleteImports asks for the deletion of a restore's VolumeSnapshot and content, from
// which the volume is made; nil stands for one that there is not. The controllers
// finish it; what they do not, a sweep does.
func (s *Snapshotter) deleteImports(ctx context.Context, snapshot *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) error {
	if snapshot != nil {
		if _, err := s.kube.VolumeSnapshots.In(snapshot.Namespace).Delete(ctx, snapshot, nil); err != nil {
			return err
		}
	}
	if content == nil {
		return nil
	}
	_, err := s.kube.VolumeSnapshotContents.Delete(ctx, content, func(now *snapshotv1.VolumeSnapshotContent) (kube.Patch, error) {
		if now.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain || objects.PurposeOf(now) != objects.Restore {
			return nil, fmt.Errorf("%s was changed by someone else, and is left alone", s.describeContent(now.Name))
		}
		// Without this csi-snapshotter never lets go of a content that snapshot-controller
		// binds to its VolumeSnapshot while both are being deleted.
		return annotate(map[string]string{objects.AnnotationBeingDeleted: "yes"}), nil
	})
	return err
}
