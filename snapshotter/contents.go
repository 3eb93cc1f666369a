package snapshotter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// staticContent is a VolumeSnapshotContent for a snapshot that is in the storage
// already. class names the VolumeSnapshotClass that has the secret for looking it
// up, nil if none is needed; node is the one whose sidecar is meant, "" for any.
func (s *Snapshotter) staticContent(call objects.Call, id ids.SnapshotID, policy snapshotv1.DeletionPolicy, class *string, node string) *snapshotv1.VolumeSnapshotContent {
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: call.Meta("", classes.DeleteAnnotations(id.DeleteSecret)),
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			DeletionPolicy:          policy,
			Driver:                  id.Driver,
			VolumeSnapshotClassName: class,
			Source:                  snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: &id.Handle},
			SourceVolumeMode:        &id.Mode,
			VolumeSnapshotRef:       corev1.ObjectReference{Namespace: s.staging, Name: call.Name()},
		},
	}
	if node != "" {
		content.Labels[objects.LabelManagedByNode] = node
	}
	return content
}

func (s *Snapshotter) describeContent(name string) string {
	return s.kube.VolumeSnapshotContents().Describe(name)
}

// deleteWithSnapshot has csi-snapshotter delete a content of ours together with
// its snapshot. It returns when both are gone.
func (s *Snapshotter) deleteWithSnapshot(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	deleted, err := s.kube.VolumeSnapshotContents().Delete(ctx, content, func(now *snapshotv1.VolumeSnapshotContent) (kube.Patch, error) {
		switch {
		case objects.PurposeOf(now) == "":
			return nil, fmt.Errorf("%s is not of this plugin's making, and is left alone", s.describeContent(now.Name))
		case now.DeletionTimestamp != nil || isDeletable(now):
			return nil, nil
		}
		return kube.Patch{
			"metadata": map[string]any{
				"finalizers":  append(withoutFinalizer(now), objects.FinalizerContent),
				"annotations": map[string]string{objects.AnnotationBeingDeleted: "yes"},
			},
			"spec": map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentDelete},
		}, nil
	})
	if err != nil {
		return err
	}
	return s.releaseContent(ctx, deleted)
}

// isDeletable tells whether the deletion of a content has csi-snapshotter delete
// the snapshot first. One that is bound to a VolumeSnapshot needs an annotation
// for that.
func isDeletable(content *snapshotv1.VolumeSnapshotContent) bool {
	bound := content.Spec.VolumeSnapshotRef.UID != ""
	return content.Spec.DeletionPolicy == snapshotv1.VolumeSnapshotContentDelete && has(content.Finalizers, objects.FinalizerContent) &&
		(!bound || content.Annotations[objects.AnnotationBeingDeleted] != "")
}

// sidecarTime is how long csi-snapshotter has to let go of a content for which it
// has nothing to do.
const sidecarTime = 5 * time.Second

// releaseContent waits until a content that is being deleted is gone. Where
// csi-snapshotter is not there to let go of one for which there is nothing to do
// in the storage, since the policy is Retain or the driver was never asked, the
// finalizer is taken away in its place.
func (s *Snapshotter) releaseContent(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	contents, what := s.kube.VolumeSnapshotContents(), s.describeContent(content.Name)
	if now, err := contents.Find(ctx, content.Name); err == nil && (now == nil || now.UID != content.UID) {
		return nil
	}
	soon, cancel := context.WithTimeout(ctx, sidecarTime)
	defer cancel()
	if err := contents.UntilGone(soon, content, what); err == nil {
		return nil
	}
	now, err := contents.Find(ctx, content.Name)
	if err != nil || now == nil || now.UID != content.UID {
		return err
	}
	_, err = contents.Edit(ctx, now, func(now *snapshotv1.VolumeSnapshotContent) (kube.Patch, error) {
		if now.DeletionTimestamp == nil || !nothingToDo(now) || !has(now.Finalizers, objects.FinalizerContent) {
			return nil, nil
		}
		return kube.Patch{"metadata": map[string]any{"finalizers": withoutFinalizer(now)}}, nil
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return s.waitDeleted(ctx, content)
}

// waitDeleted waits until a content is gone, as long as the driver does not fail for
// too long. What it says is in events more often than in the content.
func (s *Snapshotter) waitDeleted(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	ctx, errs := s.tolerate(ctx, s.log.WithField("content", content.Name))
	defer errs.stop()
	s.watchWarnings(ctx, content, func(message string) { errs.report(message) })
	target := kube.Target{Name: content.Name, Object: s.describeContent(content.Name), Until: "driver " + content.Spec.Driver + " and its csi-snapshotter to delete it"}
	_, err := s.kube.VolumeSnapshotContents().Until(ctx, target, content, func(now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
		if now == nil || now.UID != content.UID {
			return true, "", nil
		}
		errs.report(objects.Message(now))
		return false, cmp.Or(errs.message(), fmt.Sprintf("finalizers %v", now.Finalizers)), nil
	})
	return err
}

// nothingToDo tells whether the end of a content asks nothing of the storage.
func nothingToDo(content *snapshotv1.VolumeSnapshotContent) bool {
	return content.Spec.DeletionPolicy == snapshotv1.VolumeSnapshotContentRetain ||
		content.Spec.Source.VolumeHandle != nil && objects.NeverAsked(content)
}

func has(list []string, word string) bool { return slices.Contains(list, word) }

// withoutFinalizer are a content's finalizers but the one that waits for the driver.
// It is never nil, so that a patch empties the list rather than to leave it.
func withoutFinalizer(content *snapshotv1.VolumeSnapshotContent) []string {
	return slices.DeleteFunc(append([]string{}, content.Finalizers...), func(s string) bool { return s == objects.FinalizerContent })
}
