package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/drivererr"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// contentKind is what differs between a VolumeSnapshotContent, which stands for a
// snapshot, and a VolumeGroupSnapshotContent, which stands for a group of snapshots.
// csi-snapshotter treats both alike.
type contentKind[T kube.Object] struct {
	kube.Resource[T]
	what         string // what a content stands for: snapshot or group
	finalizer    string // keeps a content until the driver has done its part
	beingDeleted string // the annotation without which csi-snapshotter ignores a deletion
	refusal      bool   // whether the driver's refusal is its last word
	status       func(content T) objects.Status
	known        func(content T) []string                  // handles of snapshots that it was made for
	key          func(id ids.SnapshotID) snapshotKey       // of what a content stands for
	again        func(content T, meta metav1.ObjectMeta) T // another one with the same spec
	static       func(content T, call objects.Call) T      // one that only looks for what was taken
}

// contentState is a content in the state that was last seen. A method that changes or
// deletes the content looks at the state of that moment first.
type contentState[T kube.Object] struct {
	metav1.Object
	kind  contentKind[T]
	state T
	s     *Snapshotter
}

type (
	singleState = contentState[*snapshotv1.VolumeSnapshotContent]
	groupState  = contentState[*kube.GroupSnapshotContent]
)

func (s *Snapshotter) singleContent(state *snapshotv1.VolumeSnapshotContent) singleState {
	kind := contentKind[*snapshotv1.VolumeSnapshotContent]{
		s.kube.VolumeSnapshotContents, "snapshot", objects.FinalizerContent, objects.AnnotationBeingDeleted, false, objects.StatusOf,
		func(content *snapshotv1.VolumeSnapshotContent) []string {
			return []string{ptr.Deref(content.Spec.Source.SnapshotHandle, "")}
		},
		func(id ids.SnapshotID) snapshotKey { return snapshotKey{id.Driver, id.Handle} },
		func(content *snapshotv1.VolumeSnapshotContent, meta metav1.ObjectMeta) *snapshotv1.VolumeSnapshotContent {
			return &snapshotv1.VolumeSnapshotContent{ObjectMeta: meta, Spec: *content.Spec.DeepCopy()}
		},
		func(content *snapshotv1.VolumeSnapshotContent, call objects.Call) *snapshotv1.VolumeSnapshotContent {
			id := ids.SnapshotID{Driver: content.Spec.Driver, Handle: objects.Handle(content), Mode: ptr.Deref(content.Spec.SourceVolumeMode, corev1.PersistentVolumeFilesystem)}
			return s.staticContent(call, id, snapshotv1.VolumeSnapshotContentRetain, content.Spec.VolumeSnapshotClassName, content.Labels[objects.LabelManagedByNode])
		},
	}
	return kind.in(state, s)
}

func (s *Snapshotter) groupContent(api *kube.GroupSnapshots, state *kube.GroupSnapshotContent) groupState {
	kind := contentKind[*kube.GroupSnapshotContent]{
		api.Contents, "group", objects.FinalizerGroup, objects.AnnotationGroupBeingDeleted, true, objects.StatusOfGroup,
		func(content *kube.GroupSnapshotContent) []string {
			return ptr.Deref(content.Spec.Source.Handles, kube.GroupSnapshotHandles{}).Snapshots
		},
		func(id ids.SnapshotID) snapshotKey { return snapshotKey{id.Driver, id.Group.Handle} },
		func(content *kube.GroupSnapshotContent, meta metav1.ObjectMeta) *kube.GroupSnapshotContent {
			return &kube.GroupSnapshotContent{ObjectMeta: meta, Spec: content.Spec}
		},
		func(content *kube.GroupSnapshotContent, call objects.Call) *kube.GroupSnapshotContent {
			id := ids.SnapshotID{Driver: content.Spec.Driver, Group: ids.Group{Handle: content.Status.Handle}}
			for _, member := range content.Status.Snapshots {
				id.Group.Members = append(id.Group.Members, member.SnapshotHandle)
			}
			return s.staticGroup(call, id, snapshotv1.VolumeSnapshotContentRetain, content.Spec.ClassName)
		},
	}
	return kind.in(state, s)
}

func (k contentKind[T]) in(state T, s *Snapshotter) contentState[T] {
	return contentState[T]{state, k, state, s}
}

// in is the same content in another state.
func (c contentState[T]) in(state T) contentState[T] { return c.kind.in(state, c.s) }

func (c contentState[T]) what() string           { return c.kind.what }
func (c contentState[T]) describe() string       { return c.kind.Describe(c.GetName()) }
func (c contentState[T]) status() objects.Status { return c.kind.status(c.state) }

// untilGone waits until exactly this content is gone.
func (c contentState[T]) untilGone(ctx context.Context) error {
	return c.kind.UntilGone(ctx, c.state)
}

// again makes another content that stands for the same.
func (c contentState[T]) again(ctx context.Context, meta metav1.ObjectMeta) error {
	meta.Finalizers = []string{c.kind.finalizer}
	_, err := c.kind.Create(ctx, c.kind.again(c.state, meta))
	return err
}

// isThere tells whether the driver finds what the content stands for by its handle, unless
// it says that there is none. csi-snapshotter says that a snapshot is ready by its name alone,
// which the driver may have given to another one since.
func (c contentState[T]) isThere(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.s.beginTimeout)
	defer cancel()
	made, err := c.kind.Create(ctx, c.kind.static(c.state, c.s.newCall(objects.Restore, c.s.beginTimeout)))
	if err == nil {
		_, err = c.in(made).waitFound(ctx)
	}
	if !kube.Missing(made) {
		err = errors.Join(err, c.in(made).giveUp(ctx))
	}
	if err != nil {
		c.s.log.WithError(err).WithField("content", c.GetName()).Warnf("the look-up of the %s by its handle has failed", c.what())
	}
	return !isMissing(err)
}

// unchanged fails for a state now in which the deletion of the content has begun, or its
// handle is another.
func (c contentState[T]) unchanged(now contentState[T]) error {
	if now.GetDeletionTimestamp() != nil || now.status().Handle != c.status().Handle {
		return fmt.Errorf("%s was changed by someone else: its deletion has begun, or its handle is another", c.describe())
	}
	return nil
}

// notFound fails for a state now in which the driver has found what the content stands for.
func (c contentState[T]) notFound(now contentState[T]) error {
	if now.status().Handle != "" {
		return fmt.Errorf("%s: the driver finds the %s after all; delete it again", c.describe(), c.what())
	}
	return nil
}

// errRemoved says of a content that it is gone, and what it stood for maybe not.
var errRemoved = errors.New("was deleted by someone else")

// wait waits for csi-snapshotter to do with the content what done looks for and until
// names. It ends when the driver fails for longer than errs accepts.
func (c contentState[T]) wait(ctx context.Context, errs *tolerance, until string, done func(now T) (bool, error)) (T, error) {
	target := kube.Target{
		Name: c.GetName(), Object: c.describe(),
		Until: until + ", for which driver " + c.status().Driver + " and its csi-snapshotter have to act",
	}
	return c.kind.Until(ctx, target, c.state, func(now T) (bool, string, error) {
		if kube.Missing(now) {
			return false, "", fmt.Errorf("%s %w", target.Object, errRemoved)
		}
		over, err := done(now)
		if over || err != nil {
			return over, "", err
		}
		return false, c.in(now).status().State, c.in(now).report(errs)
	})
}

// report tells errs what the driver says, and fails if that is not worth waiting for.
func (c contentState[T]) report(errs *tolerance) error {
	status := c.status()
	switch {
	case c.GetDeletionTimestamp() != nil:
		return fmt.Errorf("the deletion of %s was asked for by someone else", c.describe())
	case c.kind.refusal && drivererr.Refused(status.Message):
		return fmt.Errorf("%s: the driver refuses it: %s", c.describe(), status.Message)
	}
	errs.of(status.Handle, status.Message)
	return nil
}

// letGo removes the content of what was taken, or leaves it to the operation by which
// Velero follows the storage, if there is one and the storage is still at work.
func (c contentState[T]) letGo(ctx context.Context, operation string, log logrus.FieldLogger) error {
	if operation == "" || c.status().Ready {
		return c.keep(ctx)
	}
	if err := c.s.noteOperation(ctx, operation, c.GetAnnotations()[objects.AnnotationBackup], unreadyKey, contentGone); err != nil {
		return err
	}
	if err := c.leave(ctx, operation); err != nil {
		return err
	}
	log.WithField("operation", operation).Infof("the storage is still at work on the %s; Velero follows it", c.what())
	return nil
}

// leave leaves the content to the operation by which Velero follows the storage: it is
// found by the label, and what it stands for does not go with it any more, since the
// backup is about to have it.
func (c contentState[T]) leave(ctx context.Context, operation string) error {
	_, err := c.kind.Edit(ctx, c.state, func(now T) (kube.Patch, error) {
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
func (c contentState[T]) keep(ctx context.Context) error {
	if err := c.forget(ctx, c.unchanged); err != nil {
		return fmt.Errorf("keep the %s: %w", c.what(), err)
	}
	return nil
}

// forget removes the content in a state that allow allows, and leaves what it stands for
// in the storage. With the policy Retain csi-snapshotter would do nothing on the deletion
// but take its finalizer away; that goes along with the policy, so that nobody can
// have the snapshot deleted in between, nor has csi-snapshotter to be there.
func (c contentState[T]) forget(ctx context.Context, allow func(now contentState[T]) error) error {
	forgotten, err := c.kind.Delete(ctx, c.state, func(now T) (kube.Patch, error) {
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

// cleanUpTimeout bounds the removal of objects after a call has failed. It runs
// even when Velero has gone away.
const cleanUpTimeout = 30 * time.Second

// discard removes the content of a failed call together with what may have been taken.
// The journal lets go of the IDs first: what is in there may be in a backup. Once the
// deletion is asked for, csi-snapshotter finishes it however long the driver takes; what
// it cannot finish is named.
func (c contentState[T]) discard(ctx context.Context, log logrus.FieldLogger, remove func(contentState[T], context.Context) error, written ...string) {
	if kube.Missing(c.state) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	now, err := c.kind.Find(ctx, c.GetName())
	if err == nil && kube.Missing(now) {
		return // it was never made, or is gone and what it stood for stays: then a sweep has the journal
	}
	if err == nil {
		err = c.s.takeOutIDs(ctx, written...)
	}
	if err == nil {
		err = remove(c.in(now), ctx)
	}
	if err != nil {
		log.WithError(err).Warnf("the unfinished %s is not removed yet; csi-snapshotter goes on with it, and so does the next sweep", c.what())
	}
}

// giveUp removes the content of a deletion that has failed before it was asked for, and
// leaves what it stands for: the backup may be restored until Velero asks again.
func (c contentState[T]) giveUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	now, err := c.kind.Find(ctx, c.GetName())
	if err != nil || kube.Missing(now) || c.in(now).GetDeletionTimestamp() != nil {
		return err
	}
	return c.in(now).forget(ctx, func(contentState[T]) error { return nil })
}

// delete has csi-snapshotter delete the content together with what it stands for, and
// returns when both are gone.
func (c contentState[T]) delete(ctx context.Context) error {
	deleted, err := c.requestDeletion(ctx)
	if err != nil {
		return err
	}
	return deleted.waitDeleted(ctx)
}

// askDeletion is delete without the wait.
func (c contentState[T]) askDeletion(ctx context.Context) error {
	_, err := c.requestDeletion(ctx)
	return err
}

// requestDeletion returns the state whose deletion it has asked for. Where the driver was
// never asked for what the content stands for, the content goes alone, since
// csi-snapshotter may not be there.
func (c contentState[T]) requestDeletion(ctx context.Context) (contentState[T], error) {
	deleted, err := c.kind.Delete(ctx, c.state, func(now T) (kube.Patch, error) {
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
	now := c.in(deleted)
	if err == nil && now.GetDeletionTimestamp() == nil {
		err = fmt.Errorf("%s %w", c.describe(), errRemoved)
	}
	return now, err
}

// waitDeleted waits until the content is gone, as long as the driver does not fail for
// too long. What it says is in events more often than in the content.
func (c contentState[T]) waitDeleted(ctx context.Context) error {
	ctx, errs := c.s.tolerate(ctx, c.s.log.WithField("content", c.GetName()))
	defer errs.stop()
	c.s.watchWarnings(ctx, c, errs.report)
	target := kube.Target{Name: c.GetName(), Object: c.describe(), Until: "driver " + c.status().Driver + " and its csi-snapshotter to delete it"}
	_, err := c.kind.Until(ctx, target, c.state, func(state T) (bool, string, error) {
		if kube.Missing(state) {
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
func (c contentState[T]) otherFinalizers() []string {
	return slices.DeleteFunc(append([]string{}, c.GetFinalizers()...), func(f string) bool { return f == c.kind.finalizer })
}
