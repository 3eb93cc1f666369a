package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
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
		var err error
		content := r.staticContent(r.call, r.id, snapshotv1.VolumeSnapshotContentRetain, r.lookup, r.node)
		if r.content, err = r.kube.VolumeSnapshotContents().Create(ctx, content); err != nil {
			return err
		}
		ready, err := r.waitReady(ctx, errs)
		if err == nil {
			r.content = ready
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if err := r.removeContent(ctx, r.content); err != nil {
			return err
		}
	}
}

// waitReady waits until the content says that the snapshot is ready, or it is time
// for another content.
func (r *restoration) waitReady(ctx context.Context, errs *tolerance) (*snapshotv1.VolumeSnapshotContent, error) {
	ctx, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	target := kube.Target{Name: r.content.Name, Object: r.describeContent(r.content.Name), Until: "driver " + r.id.Driver + " to find the snapshot ready to restore"}
	return r.kube.VolumeSnapshotContents().Until(ctx, target, r.content, func(now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
		if now == nil || now.DeletionTimestamp != nil {
			return false, "", errors.New("the staging VolumeSnapshotContent was deleted by someone else")
		}
		if objects.Handle(now) != "" && objects.Ready(now) {
			return true, "", nil
		}
		errs.report(objects.Message(now))
		return false, objects.State(now), nil
	})
}

// removeContent removes a content whose snapshot stays in the storage.
func (s *Snapshotter) removeContent(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	if err := s.deleteImports(ctx, nil, content); err != nil {
		return err
	}
	return s.releaseContent(ctx, content)
}

// importSnapshot makes the VolumeSnapshot that the claim names as its source.
func (r *restoration) importSnapshot(ctx context.Context) error {
	ctx, errs := r.tolerate(ctx, r.log)
	defer errs.stop()
	client := r.kube.VolumeSnapshots(r.staging)
	var err error
	r.snapshot, err = client.Create(ctx, &snapshotv1.VolumeSnapshot{
		ObjectMeta: r.call.Meta(r.staging),
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{VolumeSnapshotContentName: &r.content.Name}},
	})
	if err != nil {
		return err
	}
	target := kube.Target{Name: r.snapshot.Name, Object: client.Describe(r.snapshot.Name), Until: "snapshot-controller to bind it"}
	_, err = client.Until(ctx, target, r.snapshot, func(now *snapshotv1.VolumeSnapshot) (bool, string, error) {
		switch {
		case now == nil || now.DeletionTimestamp != nil:
			return false, "", errors.New("the staging VolumeSnapshot was deleted by someone else")
		case now.Status == nil:
			return false, "no status yet", nil
		}
		message := objects.ErrorText(now.Status.Error)
		errs.report(message)
		return now.Status.ReadyToUse != nil && *now.Status.ReadyToUse, message, nil
	})
	return err
}

// removeImports asks for the removal of what the volume is made from. The
// controllers finish it; what they do not, a sweep does.
func (r *restoration) removeImports(ctx context.Context) error {
	if err := r.deleteImports(ctx, r.snapshot, r.content); err != nil {
		r.log.WithError(err).Warn("staging objects of the snapshot are removed later, by a sweep")
	}
	return nil
}

// deleteImports asks for the deletion of a restore's VolumeSnapshot and content;
// nil stands for one that there is not.
func (s *Snapshotter) deleteImports(ctx context.Context, snapshot *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) error {
	if snapshot != nil {
		if _, err := s.kube.VolumeSnapshots(snapshot.Namespace).Delete(ctx, snapshot, nil); err != nil {
			return err
		}
	}
	if content == nil {
		return nil
	}
	_, err := s.kube.VolumeSnapshotContents().Delete(ctx, content, func(now *snapshotv1.VolumeSnapshotContent) (kube.Patch, error) {
		if now.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain || objects.PurposeOf(now) != objects.Restore {
			return nil, fmt.Errorf("%s was changed by someone else, and is left alone", s.describeContent(now.Name))
		}
		return nil, nil
	})
	return err
}
