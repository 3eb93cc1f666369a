package snapshotter

import (
	"context"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// cleanupTimeout bounds the removal of objects after the work is done or has
// failed. It runs even when Velero has gone away.
const cleanupTimeout = 30 * time.Second

// aside returns a context for clean-up, which the end of ctx does not end.
func aside(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}

// keep makes the snapshot independent of the objects: from here on, whatever
// becomes of them, it stays in the storage. It also marks the content, which the
// controller made, so that a repeated call finds it.
func (s shot) keep(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	kept, err := s.setPolicy(ctx, content.Name, snapshotv1.VolumeSnapshotContentRetain, s.request)
	return kept, wrap(err, "set the deletion policy of %s to Retain", describeContent(content.Name))
}

// setPolicy sets a content's deletion policy, marks it as work of the request,
// and allows its deletion even when its VolumeSnapshot is gone.
func (s *Snapshotter) setPolicy(ctx context.Context, name string, policy snapshotv1.DeletionPolicy, r request) (*snapshotv1.VolumeSnapshotContent, error) {
	annotations := r.annotations()
	annotations[annotationBeingDeleted] = "yes"
	return apply(ctx, s.kube.VolumeSnapshotContents(), name, patch{
		"metadata": metaPatch(r.labels(), annotations),
		"spec":     map[string]any{"deletionPolicy": policy},
	})
}

// release removes the objects of a snapshot that is kept. The VolumeSnapshot
// goes first: the controller would make a new content for one without.
//
// It fails only if not even the deletion could be asked for. What lingers after
// that, because a controller is away, is no reason to call the snapshot failed.
func (s shot) release(ctx context.Context, vs *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	if vs != nil {
		if err := s.removeSnapshot(ctx, vs); err != nil {
			s.log.WithError(err).Warn("the snapshot is taken, but its VolumeSnapshot is still being removed")
			ctx, cancel = aside(ctx)
			defer cancel()
		}
	}
	contents := s.kube.VolumeSnapshotContents()
	if err := remove(ctx, contents, content); err != nil {
		return fmt.Errorf("remove %s of the snapshot that was taken: %w", describeContent(content.Name), err)
	}
	if err := gone(ctx, contents, describeContent(content.Name), content); err != nil {
		s.log.WithError(err).Warn("the snapshot is taken, but its VolumeSnapshotContent is still being removed")
	}
	return nil
}

func (s *Snapshotter) removeSnapshot(ctx context.Context, vs *snapshotv1.VolumeSnapshot) error {
	client := s.kube.VolumeSnapshots(vs.Namespace)
	if err := remove(ctx, client, vs); err != nil {
		return fmt.Errorf("remove %s: %w", describeSnapshot(vs), err)
	}
	return gone(ctx, client, describeSnapshot(vs), vs)
}

// detached returns the content of a snapshot that an earlier call took for the
// same backup and could not hand over, nil if there is none. Contents that an
// earlier backup of the same name left are removed with their snapshots.
func (s shot) detached(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotContentList, error) {
		return s.kube.VolumeSnapshotContents().List(ctx, metav1.ListOptions{LabelSelector: labelRequest + "=" + s.name})
	})
	if err != nil {
		return nil, fmt.Errorf("list the VolumeSnapshotContents of earlier calls: %w", err)
	}
	var found *snapshotv1.VolumeSnapshotContent
	for i := range list.Items {
		content := &list.Items[i]
		if !s.wasKept(content) {
			continue
		}
		vs, err := s.getVolumeSnapshot(ctx, content.Spec.VolumeSnapshotRef.Namespace, content.Spec.VolumeSnapshotRef.Name)
		if err != nil {
			return nil, err
		}
		if vs != nil && vs.UID == content.Spec.VolumeSnapshotRef.UID {
			continue // create will find it
		}
		if s.fresh(ctx, content) && found == nil {
			found = content
		} else if err := s.destroyContent(ctx, content); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// wasKept tells whether the content was kept, so that it holds a whole snapshot.
func (s shot) wasKept(content *snapshotv1.VolumeSnapshotContent) bool {
	return s.made(content) && content.Spec.DeletionPolicy == snapshotv1.VolumeSnapshotContentRetain && handleOf(content) != ""
}

// discard removes the VolumeSnapshot of a failed call together with the snapshot
// that may have been taken. Once the deletion is asked for, the controllers
// finish it however long the driver takes.
func (s shot) discard(ctx context.Context, vs *snapshotv1.VolumeSnapshot) {
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := s.destroy(ctx, vs); err != nil {
		s.log.WithError(err).Warn("the unfinished snapshot is still being removed")
	}
}

// destroy removes a VolumeSnapshot together with its snapshot in the storage,
// whatever the deletion policy of its class.
func (s *Snapshotter) destroy(ctx context.Context, vs *snapshotv1.VolumeSnapshot) error {
	contents := s.kube.VolumeSnapshotContents()
	content, err := apply(ctx, contents, contentNameOf(vs), patch{
		"metadata": metaPatch(nil, map[string]string{annotationBeingDeleted: "yes"}),
		"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentDelete},
	})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return wrap(err, "set the deletion policy of %s to Delete", describeContent(contentNameOf(vs)))
	}
	if err := remove(ctx, s.kube.VolumeSnapshots(vs.Namespace), vs); err != nil {
		return wrap(err, "remove %s", describeSnapshot(vs))
	}
	if !missing {
		if err := s.removeContent(ctx, content); err != nil {
			return err
		}
	}
	return gone(ctx, s.kube.VolumeSnapshots(vs.Namespace), describeSnapshot(vs), vs)
}

// destroyContent removes a content without VolumeSnapshot together with its
// snapshot in the storage.
func (s *Snapshotter) destroyContent(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	content, err := apply(ctx, s.kube.VolumeSnapshotContents(), content.Name, patch{
		"metadata": metaPatch(nil, map[string]string{annotationBeingDeleted: "yes"}),
		"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentDelete},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return wrap(err, "set the deletion policy of %s to Delete", describeContent(content.Name))
	}
	return s.removeContent(ctx, content)
}

func (s *Snapshotter) removeContent(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	client := s.kube.VolumeSnapshotContents()
	if err := remove(ctx, client, content); err != nil {
		return fmt.Errorf("remove %s: %w", describeContent(content.Name), err)
	}
	return gone(ctx, client, describeContent(content.Name), content)
}
