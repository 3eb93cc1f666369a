package snapshotter

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// contentKind is what differs between a VolumeSnapshotContent, which stands for a
// snapshot, and a VolumeGroupSnapshotContent, which stands for a group of snapshots.
// csi-snapshotter treats both alike.
type contentKind[T, L any] struct {
	kube.Resource[T, L]
	what         string // what a content stands for: snapshot or group
	finalizer    string // keeps a content until the driver has done its part
	beingDeleted string // the annotation without which csi-snapshotter ignores a deletion
	status       func(content *T) objects.Status
	again        func(content *T, meta metav1.ObjectMeta) *T // another one with the same spec
}

// contentState is a content in the state that was last seen. A method that changes or
// deletes the content looks at the state of that moment first.
type contentState[T, L any] struct {
	metav1.Object
	kind  contentKind[T, L]
	state *T
	s     *Snapshotter
}

func (s *Snapshotter) singleContent(state *snapshotv1.VolumeSnapshotContent) contentState[snapshotv1.VolumeSnapshotContent, snapshotv1.VolumeSnapshotContentList] {
	kind := contentKind[snapshotv1.VolumeSnapshotContent, snapshotv1.VolumeSnapshotContentList]{
		s.kube.VolumeSnapshotContents, "snapshot", objects.FinalizerContent, objects.AnnotationBeingDeleted, objects.StatusOf,
		func(content *snapshotv1.VolumeSnapshotContent, meta metav1.ObjectMeta) *snapshotv1.VolumeSnapshotContent {
			return &snapshotv1.VolumeSnapshotContent{ObjectMeta: meta, Spec: *content.Spec.DeepCopy()}
		},
	}
	return kind.in(state, s)
}

func (s *Snapshotter) groupContent(api *kube.GroupSnapshots, state *kube.GroupSnapshotContent) contentState[kube.GroupSnapshotContent, kube.GroupSnapshotContentList] {
	kind := contentKind[kube.GroupSnapshotContent, kube.GroupSnapshotContentList]{
		api.Contents, "group", objects.FinalizerGroup, objects.AnnotationGroupBeingDeleted, objects.StatusOfGroup,
		func(content *kube.GroupSnapshotContent, meta metav1.ObjectMeta) *kube.GroupSnapshotContent {
			return &kube.GroupSnapshotContent{ObjectMeta: meta, Spec: content.Spec}
		},
	}
	return kind.in(state, s)
}

func (k contentKind[T, L]) in(state *T, s *Snapshotter) contentState[T, L] {
	return contentState[T, L]{any(state).(metav1.Object), k, state, s}
}

// in is the same content in another state.
func (c contentState[T, L]) in(state *T) contentState[T, L] { return c.kind.in(state, c.s) }

func (c contentState[T, L]) what() string           { return c.kind.what }
func (c contentState[T, L]) describe() string       { return c.kind.Describe(c.GetName()) }
func (c contentState[T, L]) status() objects.Status { return c.kind.status(c.state) }

// untilGone waits until exactly this content is gone.
func (c contentState[T, L]) untilGone(ctx context.Context) error {
	return c.kind.UntilGone(ctx, c.state)
}

// again makes another content that stands for the same.
func (c contentState[T, L]) again(ctx context.Context, meta metav1.ObjectMeta) error {
	meta.Finalizers = []string{c.kind.finalizer}
	_, err := c.kind.Create(ctx, c.kind.again(c.state, meta))
	return err
}

// unchanged fails for a state now in which the deletion of the content has begun, or its
// handle is another.
func (c contentState[T, L]) unchanged(now contentState[T, L]) error {
	if now.GetDeletionTimestamp() != nil || now.status().Handle != c.status().Handle {
		return fmt.Errorf("%s was changed by someone else: its deletion has begun, or its handle is another", c.describe())
	}
	return nil
}

// notFound fails for a state now in which the driver has found what the content stands for.
func (c contentState[T, L]) notFound(now contentState[T, L]) error {
	if now.status().Handle != "" {
		return fmt.Errorf("%s: the driver finds the %s after all; delete it again", c.describe(), c.what())
	}
	return nil
}

// leave leaves the content to the operation by which Velero follows the storage: it is
// found by the label, and what it stands for does not go with it any more, since the
// backup is about to have it.
func (c contentState[T, L]) leave(ctx context.Context, operation string) error {
	_, err := c.kind.Edit(ctx, c.state, func(now *T) (kube.Patch, error) {
		return kube.Patch{
			"metadata": map[string]any{"labels": map[string]string{objects.LabelOperation: operation}},
			"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentRetain},
		}, c.unchanged(c.in(now))
	})
	if err != nil {
		return fmt.Errorf("leave the %s to the storage: %w", c.what(), err)
	}
	return nil
}

// keep removes the content if it is unchanged, and leaves what it stands for in the
// storage.
func (c contentState[T, L]) keep(ctx context.Context) error {
	if err := c.forget(ctx, c.unchanged); err != nil {
		return fmt.Errorf("keep the %s: %w", c.what(), err)
	}
	return nil
}

// forget removes the content in a state that allow allows, and leaves what it stands for
// in the storage. With the policy Retain csi-snapshotter would do nothing on the deletion
// but take its finalizer away; that goes along with the policy, so that nobody can
// have the snapshot deleted in between, nor has csi-snapshotter to be there.
func (c contentState[T, L]) forget(ctx context.Context, allow func(now contentState[T, L]) error) error {
	forgotten, err := c.kind.Delete(ctx, c.state, func(now *T) (kube.Patch, error) {
		current := c.in(now)
		if err := allow(current); err != nil || current.GetDeletionTimestamp() != nil {
			return nil, err
		}
		return kube.Patch{
			"metadata": map[string]any{"finalizers": current.otherFinalizers()},
			"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentRetain},
		}, nil
	})
	if err == nil && c.in(forgotten).status().Policy != snapshotv1.VolumeSnapshotContentRetain {
		err = fmt.Errorf("%s was deleted by someone else, maybe with its %s", c.describe(), c.what())
	}
	return err
}

// giveUp removes the content of a deletion that has failed before it was asked for, and
// leaves what it stands for: the backup may be restored until Velero asks again.
func (c contentState[T, L]) giveUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	now, err := c.kind.Find(ctx, c.GetName())
	if err != nil || now == nil || c.in(now).GetDeletionTimestamp() != nil {
		return err
	}
	return c.in(now).forget(ctx, func(contentState[T, L]) error { return nil })
}

// delete has csi-snapshotter delete the content together with what it stands for, and
// returns when both are gone.
func (c contentState[T, L]) delete(ctx context.Context) error {
	deleted, err := c.requestDeletion(ctx)
	if err != nil {
		return err
	}
	return deleted.waitDeleted(ctx)
}

// askDeletion is delete without the wait.
func (c contentState[T, L]) askDeletion(ctx context.Context) error {
	_, err := c.requestDeletion(ctx)
	return err
}

// requestDeletion returns the state whose deletion it has asked for. Where the driver was
// never asked for what the content stands for, the content goes alone, since
// csi-snapshotter may not be there.
func (c contentState[T, L]) requestDeletion(ctx context.Context) (contentState[T, L], error) {
	deleted, err := c.kind.Delete(ctx, c.state, func(now *T) (kube.Patch, error) {
		current := c.in(now)
		finalizers := current.otherFinalizers()
		switch {
		case objects.PurposeOf(current) == "":
			return nil, fmt.Errorf("%s is not of this plugin's making, and is left alone", c.describe())
		case current.GetDeletionTimestamp() != nil:
			return nil, nil
		case current.status().Asked:
			finalizers = append(finalizers, c.kind.finalizer)
		}
		return kube.Patch{
			"metadata": map[string]any{"finalizers": finalizers, "annotations": map[string]string{c.kind.beingDeleted: "yes"}},
			"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentDelete},
		}, nil
	})
	return c.in(deleted), err
}

// waitDeleted waits until the content is gone, as long as the driver does not fail for
// too long. What it says is in events more often than in the content.
func (c contentState[T, L]) waitDeleted(ctx context.Context) error {
	ctx, errs := c.s.tolerate(ctx, c.s.log.WithField("content", c.GetName()))
	defer errs.stop()
	c.s.watchWarnings(ctx, c, errs.report)
	target := kube.Target{Name: c.GetName(), Object: c.describe(), Until: "driver " + c.status().Driver + " and its csi-snapshotter to delete it"}
	_, err := c.kind.Until(ctx, target, c.state, func(state *T) (bool, string, error) {
		if state == nil {
			return true, "", nil
		}
		now := c.in(state)
		if now.GetUID() != c.GetUID() {
			return true, "", nil
		}
		errs.report(now.status().Message)
		return false, cmp.Or(errs.message(), fmt.Sprintf("finalizers %v", now.GetFinalizers())), nil
	})
	return err
}

// otherFinalizers are those of the content but the one that waits for the driver.
// It is never nil, so that a patch empties the list rather than leaving it.
func (c contentState[T, L]) otherFinalizers() []string {
	return slices.DeleteFunc(append([]string{}, c.GetFinalizers()...), func(f string) bool { return f == c.kind.finalizer })
}
