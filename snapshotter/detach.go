package snapshotter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// cleanupTimeout bounds the removal of objects after the work is done or has
// failed. It runs even when Velero has gone away.
const cleanupTimeout = 30 * time.Second

// aside returns a context for clean-up, which the end of ctx does not end.
func aside(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}

// detach removes the content of a snapshot and leaves the snapshot in the
// storage. With the policy Retain the sidecar would do nothing on the deletion
// but take its finalizer away; that is done along with the policy, so that the
// content goes at once.
//
// No ID may be handed out while the content is not at least being deleted: what
// is not is taken for the leftover of a crash, and removed with its snapshot.
func (s shot) detach(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	kept, err := s.keep(ctx, content)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s %w", describeContent(s.name), errVanished)
	}
	if err != nil {
		return fmt.Errorf("set the deletion policy of %s to Retain: %w", describeContent(s.name), err)
	}
	left, err := s.kube.DeleteContent(ctx, kept)
	if err != nil {
		return fmt.Errorf("remove %s of the snapshot that was taken: %w", describeContent(s.name), err)
	}
	if left == nil {
		return nil
	}
	if err := gone(ctx, s.kube.VolumeSnapshotContents(), describeContent(s.name), left); err != nil {
		s.log.WithError(err).Warn("the snapshot is taken, but its VolumeSnapshotContent is still being removed")
	}
	return nil
}

// keep sets the content's policy to Retain and takes the finalizer away.
func (s shot) keep(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	retain := jsonPatch{"replace", "/spec/deletionPolicy", snapshotv1.VolumeSnapshotContentRetain}
	return unhook(ctx, s.kube.VolumeSnapshotContents(), content, finalizerContent, retain)
}

// unhook takes a finalizer away, together with the changes that make it needless.
func unhook[T metav1.Object](ctx context.Context, client getPatcher[T], object T, finalizer string, changes ...jsonPatch) (T, error) {
	name := object.GetName()
	for {
		steps := slices.Clone(changes)
		if i := slices.Index(object.GetFinalizers(), finalizer); i >= 0 {
			at := fmt.Sprintf("/metadata/finalizers/%d", i)
			steps = append(steps, jsonPatch{"test", at, finalizer}, jsonPatch{"remove", at, nil})
		}
		if len(steps) == 0 {
			return object, nil
		}
		body, err := json.Marshal(steps)
		if err != nil {
			return object, err
		}
		changed, err := kube.Retry(ctx, func(ctx context.Context) (T, error) {
			return client.Patch(ctx, name, types.JSONPatchType, body, metav1.PatchOptions{})
		})
		if !apierrors.IsInvalid(err) || ctx.Err() != nil {
			return changed, err
		}
		// The finalizers have changed meanwhile.
		object, err = kube.Retry(ctx, func(ctx context.Context) (T, error) {
			return client.Get(ctx, name, metav1.GetOptions{})
		})
		if err != nil {
			return object, err
		}
	}
}

// getPatcher is the part of a typed client that reads and changes an object.
type getPatcher[T any] interface {
	patcher[T]
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
}

// jsonPatch is one step of a JSON patch.
type jsonPatch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// pointer is a key as it stands in the path of a JSON patch.
func pointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// discard removes the content of a failed call together with the snapshot that
// may have been taken. Once the deletion is asked for, the sidecar finishes it
// however long the driver takes; nobody waits for it where it is known to be
// unable to.
func (s shot) discard(ctx context.Context, content *snapshotv1.VolumeSnapshotContent, failure error) {
	ctx, cancel := aside(ctx)
	defer cancel()
	doomed, err := s.doom(ctx, content)
	if err == nil && doomed != nil {
		go s.nudge(context.WithoutCancel(ctx), doomed)
	}
	if err == nil && doomed != nil && !errors.Is(failure, errClassGone) {
		err = s.gone(ctx, doomed)
	}
	if err != nil {
		s.log.WithError(err).Warn("the unfinished snapshot is still being removed")
	}
}

// destroy removes a content together with its snapshot in the storage, whatever
// its deletion policy is. It returns when both are gone.
func (s *Snapshotter) destroy(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	doomed, err := s.doom(ctx, content)
	if err != nil || doomed == nil {
		return err
	}
	return s.gone(ctx, doomed)
}

func (s *Snapshotter) gone(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	return gone(ctx, s.kube.VolumeSnapshotContents(), describeContent(content.Name), content)
}

// doom asks for the deletion of a content together with its snapshot. It returns
// the content that is to go, nil if it is gone or another's.
func (s *Snapshotter) doom(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	client := s.kube.VolumeSnapshotContents()
	if content.DeletionTimestamp == nil {
		marks, err := s.deletionMarks(ctx, content.Name)
		if err != nil {
			return nil, err
		}
		doomed, err := apply(ctx, client, content.Name, patch{
			"metadata": map[string]any{
				"uid":         content.UID,
				"finalizers":  union(content.Finalizers, finalizerContent),
				"annotations": marks,
			},
			"spec": map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentDelete},
		})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil, nil
		}
		if err != nil {
			return nil, wrap(err, "set the deletion policy of %s to Delete", describeContent(content.Name))
		}
		content = doomed
	}
	err := remove(ctx, client, content)
	return content, wrap(err, "remove %s", describeContent(content.Name))
}

func union(list []string, word string) []string {
	if slices.Contains(list, word) {
		return list
	}
	return append(slices.Clone(list), word)
}
