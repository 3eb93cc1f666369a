package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// What the snapshot controllers leave and expect on their objects.
const (
	// finalizerContent keeps a content until the driver has done its part. The
	// controller adds it only to contents that are bound, so a content that never
	// will be has to be made with it.
	finalizerContent = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
	// finalizerSnapshot is on every VolumeSnapshot that is not being deleted. One
	// that is made with it spares the controller a request.
	finalizerSnapshot = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"
	// annotationBeingDeleted lets the sidecar act on the deletion of a content
	// that is bound. The controller sets it when the VolumeSnapshot is deleted;
	// without it the deletion of a content whose VolumeSnapshot has vanished
	// would hang for ever.
	annotationBeingDeleted = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
	// annotationBeingCreated says that the driver may have been asked for the
	// snapshot. The sidecar takes it away when the driver has answered for good;
	// until then it does not let go of the content.
	annotationBeingCreated = "snapshot.storage.kubernetes.io/volumesnapshot-being-created"
	// labelManagedByNode tells sidecars that run on each node which one is meant.
	labelManagedByNode = "snapshot.storage.kubernetes.io/managed-by"
)

func handleOf(content *snapshotv1.VolumeSnapshotContent) string {
	if content == nil || content.Status == nil || content.Status.SnapshotHandle == nil {
		return ""
	}
	return *content.Status.SnapshotHandle
}

func isReady(content *snapshotv1.VolumeSnapshotContent) bool {
	return content.Status != nil && content.Status.ReadyToUse != nil && *content.Status.ReadyToUse
}

// messageOf returns the message of an error in a status, "" if there is none.
func messageOf(err *snapshotv1.VolumeSnapshotError) string {
	if err == nil || err.Message == nil {
		return ""
	}
	return *err.Message
}

func contentMessage(content *snapshotv1.VolumeSnapshotContent) string {
	if content.Status == nil {
		return ""
	}
	return messageOf(content.Status.Error)
}

// patch is a JSON merge patch.
type patch map[string]any

// metaPatch is the part of a patch that sets labels and annotations.
func metaPatch(labels, annotations map[string]string) map[string]any {
	return map[string]any{"labels": labels, "annotations": annotations}
}

func (p patch) bytes() []byte {
	content, err := json.Marshal(p)
	if err != nil {
		panic(err) // maps of strings always have a JSON form
	}
	return content
}

// patcher is the part of a typed client that patches.
type patcher[T any] interface {
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (T, error)
}

// apply patches an object. An object that is gone is an error that
// apierrors.IsNotFound knows.
func apply[T any](ctx context.Context, client patcher[T], name string, p patch, subresources ...string) (T, error) {
	return kube.Retry(ctx, func(ctx context.Context) (T, error) {
		return client.Patch(ctx, name, types.MergePatchType, p.bytes(), metav1.PatchOptions{}, subresources...)
	})
}

// deleter is the part of a typed client that deletes.
type deleter interface {
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// remove asks for the deletion of exactly this object, not of another that has
// taken its name. One that is gone is no error, and one that is to go anyway need
// not be asked for. An object without UID is one of which only the name is known.
func remove(ctx context.Context, client deleter, object metav1.Object) error {
	if object.GetDeletionTimestamp() != nil {
		return nil
	}
	var options metav1.DeleteOptions
	if uid := object.GetUID(); uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	err := kube.Do(ctx, func(ctx context.Context) error {
		return client.Delete(ctx, object.GetName(), options)
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// gone waits until exactly this object is gone.
func gone[T kube.Object, L runtime.Object](ctx context.Context, client kube.ListWatcher[L], what string, object T) error {
	target := kube.Target{Name: object.GetName(), Object: what, Until: "its removal"}
	_, err := kube.Until(ctx, client, target, object, func(now T) (bool, string, error) {
		return isGone(now, object.GetUID()), stateOf(now), nil
	})
	return err
}

// isGone tells whether what is there now is not the object of that UID. Without
// one it is any object of the name.
func isGone[T kube.Object](now T, uid types.UID) bool {
	var none T
	return now == none || uid != "" && now.GetUID() != uid
}

// stateOf tells what holds an object that is to go.
func stateOf[T kube.Object](now T) string {
	var none T
	if now == none {
		return ""
	}
	return fmt.Sprintf("deletion requested %t, finalizers %v", now.GetDeletionTimestamp() != nil, now.GetFinalizers())
}

// present returns nil, nil in place of a not-found error.
func present[T any](object *T, err error) (*T, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

func (s *Snapshotter) getContent(ctx context.Context, name string) (*snapshotv1.VolumeSnapshotContent, error) {
	return present(kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
		return s.kube.VolumeSnapshotContents().Get(ctx, name, metav1.GetOptions{})
	}))
}

func (s *Snapshotter) getClaim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	return present(kube.Retry(ctx, func(ctx context.Context) (*corev1.PersistentVolumeClaim, error) {
		return s.kube.Claims(namespace).Get(ctx, name, metav1.GetOptions{})
	}))
}

func (s *Snapshotter) getVolume(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	return present(kube.Retry(ctx, func(ctx context.Context) (*corev1.PersistentVolume, error) {
		return s.kube.PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	}))
}

func describeSnapshot(vs *snapshotv1.VolumeSnapshot) string {
	return "VolumeSnapshot " + vs.Namespace + "/" + vs.Name
}

func describeContent(name string) string { return "VolumeSnapshotContent " + name }
