package snapshotter

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"

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
			VolumeSnapshotRef:       corev1.ObjectReference{Namespace: s.settings.StagingNamespace, Name: call.Name()},
		},
	}
	if node != "" {
		content.Labels[objects.LabelManagedByNode] = node
	}
	return content
}

func (s *Snapshotter) describeContent(name string) string {
	return s.kube.VolumeSnapshotContents.Describe(name)
}

// waitContent waits for csi-snapshotter to do with a content of ours what done looks
// for and until names. It ends when the driver fails for longer than errs accepts.
func (s *Snapshotter) waitContent(ctx context.Context, content *snapshotv1.VolumeSnapshotContent, errs *tolerance, until string, done func(now *snapshotv1.VolumeSnapshotContent) (bool, error)) (*snapshotv1.VolumeSnapshotContent, error) {
	target := kube.Target{
		Name: content.Name, Object: s.describeContent(content.Name),
		Until: until + ", for which driver " + content.Spec.Driver + " and its csi-snapshotter have to act",
	}
	return s.kube.VolumeSnapshotContents.Until(ctx, target, content, func(now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
		if now == nil {
			return false, "", fmt.Errorf("%s was deleted by someone else", target.Object)
		}
		over, err := done(now)
		if over || err != nil {
			return over, "", err
		}
		if now.DeletionTimestamp != nil {
			return false, "", fmt.Errorf("the deletion of %s was asked for by someone else", target.Object)
		}
		errs.report(objects.Message(now))
		return false, objects.State(now), nil
	})
}

// forgetContent removes a content that allow allows, and leaves its snapshot in the
// storage. With the policy Retain csi-snapshotter would do nothing on the deletion
// but take its finalizer away; that goes along with the policy, so that nobody can
// have the snapshot deleted in between, nor has csi-snapshotter to be there.
func (s *Snapshotter) forgetContent(ctx context.Context, content *snapshotv1.VolumeSnapshotContent, allow func(now *snapshotv1.VolumeSnapshotContent) error) error {
	forgotten, err := s.kube.VolumeSnapshotContents.Delete(ctx, content, func(now *snapshotv1.VolumeSnapshotContent) (kube.Patch, error) {
		if err := allow(now); err != nil || now.DeletionTimestamp != nil {
			return nil, err
		}
		return kube.Patch{
			"metadata": map[string]any{"finalizers": withoutFinalizer(now)},
			"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentRetain},
		}, nil
	})
	if err == nil && forgotten.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain {
		err = fmt.Errorf("%s was deleted by someone else, maybe with its snapshot", s.describeContent(content.Name))
	}
	if err != nil {
		return err
	}
	if err := s.kube.VolumeSnapshotContents.UntilGone(ctx, forgotten); err != nil {
		s.log.WithError(err).Warn("a VolumeSnapshotContent is still being removed; its snapshot stays")
	}
	return nil
}

// deleteWithSnapshot has csi-snapshotter delete a content of ours together with its
// snapshot, and returns when both are gone. Where the driver was never asked for the
// snapshot, the content goes alone, since csi-snapshotter may not be there.
func (s *Snapshotter) deleteWithSnapshot(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	deleted, err := s.askDeletion(ctx, content)
	if err != nil {
		return err
	}
	return s.waitDeleted(ctx, deleted)
}

// askDeletion is deleteWithSnapshot without the wait.
func (s *Snapshotter) askDeletion(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	return s.kube.VolumeSnapshotContents.Delete(ctx, content, func(now *snapshotv1.VolumeSnapshotContent) (kube.Patch, error) {
		finalizers := withoutFinalizer(now)
		switch {
		case objects.PurposeOf(now) == "":
			return nil, fmt.Errorf("%s is not of this plugin's making, and is left alone", s.describeContent(now.Name))
		case now.DeletionTimestamp != nil:
			return nil, nil
		case now.Spec.Source.VolumeHandle == nil || !objects.NeverAsked(now):
			finalizers = append(finalizers, objects.FinalizerContent)
		}
		return kube.Patch{
			"metadata": map[string]any{
				"finalizers":  finalizers,
				"annotations": map[string]string{objects.AnnotationBeingDeleted: "yes"},
			},
			"spec": map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentDelete},
		}, nil
	})
}

// waitDeleted waits until a content is gone, as long as the driver does not fail for
// too long. What it says is in events more often than in the content.
func (s *Snapshotter) waitDeleted(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	ctx, errs := s.tolerate(ctx, s.log.WithField("content", content.Name))
	defer errs.stop()
	s.watchWarnings(ctx, content, errs.report)
	target := kube.Target{Name: content.Name, Object: s.describeContent(content.Name), Until: "driver " + content.Spec.Driver + " and its csi-snapshotter to delete it"}
	_, err := s.kube.VolumeSnapshotContents.Until(ctx, target, content, func(now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
		if now == nil || now.UID != content.UID {
			return true, "", nil
		}
		errs.report(objects.Message(now))
		return false, cmp.Or(errs.message(), fmt.Sprintf("finalizers %v", now.Finalizers)), nil
	})
	return err
}

// withoutFinalizer are a content's finalizers but the one that waits for the driver.
// It is never nil, so that a patch empties the list rather than to leave it.
func withoutFinalizer(content *snapshotv1.VolumeSnapshotContent) []string {
	return slices.DeleteFunc(append([]string{}, content.Finalizers...), func(s string) bool { return s == objects.FinalizerContent })
}
