package snapshotter

import (
	"context"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// DeleteSnapshot removes the snapshot from the storage. It returns nil only when
// the driver has confirmed that; a snapshot that is not there is confirmed too.
//
// A content that another tool has for the same snapshot is respected: the call
// fails and names it. One that a crashed call of ours left is used.
func (s *Snapshotter) DeleteSnapshot(ctx context.Context, snapshotID string) error {
	id, err := ids.ParseSnapshotID(snapshotID)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.DeleteTimeout)
	defer cancel()
	if err := s.delete(ctx, id); err != nil {
		return fmt.Errorf("delete snapshot %s of driver %s: %w", id.Handle, id.Driver, err)
	}
	s.sweepOnce(ctx)
	return nil
}

func (s *Snapshotter) delete(ctx context.Context, id ids.SnapshotID) error {
	others, err := s.contentsOf(ctx, id)
	if err != nil {
		return err
	}
	if err := s.requireDriver(ctx, id.Driver); err != nil {
		return err
	}
	r := deleteRequest(id)
	for i := range others {
		if !r.made(&others[i]) {
			if err := s.clear(ctx, &others[i]); err != nil {
				return err
			}
		}
	}
	return deletion{s, r, id}.run(ctx)
}

// contentsOf lists the contents in the cluster that stand for the snapshot.
func (s *Snapshotter) contentsOf(ctx context.Context, id ids.SnapshotID) ([]snapshotv1.VolumeSnapshotContent, error) {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotContentList, error) {
		return s.kube.VolumeSnapshotContents().List(ctx, metav1.ListOptions{})
	})
	if apierrors.IsNotFound(err) {
		_, err := s.listClasses(ctx) // says what is missing
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotContents: %w", err)
	}
	var found []snapshotv1.VolumeSnapshotContent
	for _, content := range list.Items {
		if standsFor(&content, id) {
			found = append(found, content)
		}
	}
	return found, nil
}

func standsFor(content *snapshotv1.VolumeSnapshotContent, id ids.SnapshotID) bool {
	source := content.Spec.Source.SnapshotHandle
	return content.Spec.Driver == id.Driver && (handleOf(content) == id.Handle || source != nil && *source == id.Handle)
}

// clear gets a content for the snapshot out of the way. Two contents that delete
// one snapshot would wait for each other.
func (s *Snapshotter) clear(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	what := describeContent(content.Name)
	if content.DeletionTimestamp != nil || purposeOf(content) == purposeRestore {
		// A restore under way ends by itself; so does a deletion.
		return gone[*snapshotv1.VolumeSnapshotContent, *snapshotv1.VolumeSnapshotContentList](ctx, s.kube.VolumeSnapshotContents(), what+", which is of the same snapshot", content)
	}
	if purposeOf(content) == "" {
		ref := content.Spec.VolumeSnapshotRef
		return fmt.Errorf("%s (of VolumeSnapshot %s/%s) is of the same snapshot and not of this plugin's making: remove it first, with deletion policy Retain", what, ref.Namespace, ref.Name)
	}
	return s.destroy(ctx, content)
}

// deletion is one deletion under way.
type deletion struct {
	*Snapshotter
	request
	id ids.SnapshotID
}

// noDriver stands in a content that no csi-snapshotter is to see yet.
const noDriver = "none.longshore.dev"

// run deletes by a content made for it. The driver's part is done when the
// content is gone: the sidecar lets go of it only then.
func (d deletion) run(ctx context.Context) error {
	content, err := d.content(ctx)
	if err != nil {
		return err
	}
	for content != nil && content.DeletionTimestamp == nil {
		if content, err = d.armed(ctx, content); err != nil || content == nil {
			return err
		}
		if content, err = d.trigger(ctx, content); err != nil {
			return err
		}
	}
	if content == nil {
		return nil
	}
	return gone[*snapshotv1.VolumeSnapshotContent, *snapshotv1.VolumeSnapshotContentList](ctx, d.kube.VolumeSnapshotContents(),
		describeContent(d.name)+", by which driver "+d.id.Driver+" is told to delete the snapshot", content)
}

// content makes the content, or finds that of an earlier call. It is made without
// the driver, since csi-snapshotter would look the snapshot up first. That takes
// two of the five requests that it allows itself in a second, three more go into
// the deletion, and a lookup that fails meanwhile would wipe the handle out.
func (d deletion) content(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
	client := d.kube.VolumeSnapshotContents()
	content := d.staticContent(d.request, d.id, snapshotv1.VolumeSnapshotContentDelete, nil, d.id.ManagedBy)
	content.Spec.Driver = noDriver
	for {
		made, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotContent, error) {
			return client.Create(ctx, content, metav1.CreateOptions{})
		})
		if !apierrors.IsAlreadyExists(err) {
			return made, wrap(err, "create %s", describeContent(d.name))
		}
		found, err := d.getContent(ctx, d.name)
		if err != nil {
			return nil, err
		}
		if found != nil && !d.made(found) {
			return nil, fmt.Errorf("%s exists and is not of this plugin's making", describeContent(d.name))
		}
		if found != nil {
			return found, nil
		}
	}
}

// armed returns the content in the state in which its deletion makes the sidecar
// call the driver: with the handle in its status, and then with the driver. Such
// a content the sidecar leaves alone until it is deleted. Whether the snapshot is
// there is for the driver to say, which must confirm the deletion of one that
// does not exist.
func (d deletion) armed(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	client := d.kube.VolumeSnapshotContents()
	var err error
	if handleOf(content) == "" {
		if content.Spec.Driver != noDriver {
			return nil, fmt.Errorf("%s has lost the snapshot's handle; remove it, and ask again", describeContent(d.name))
		}
		status := map[string]any{"snapshotHandle": d.id.Handle, "readyToUse": true}
		content, err = present(apply(ctx, client, d.name, patch{"metadata": uidOf(content), "status": status}, "status"))
		if err != nil || content == nil {
			return nil, wrap(err, "put the handle into the status of %s", describeContent(d.name))
		}
	}
	if content.Spec.Driver == noDriver {
		content, err = present(apply(ctx, client, d.name, patch{"metadata": uidOf(content), "spec": map[string]any{"driver": d.id.Driver}}))
	}
	return content, wrap(err, "put the driver into %s", describeContent(d.name))
}

// uidOf is the part of a patch that makes sure that it changes this object.
func uidOf(object metav1.Object) map[string]any { return map[string]any{"uid": object.GetUID()} }

// trigger asks for the deletion of the content in exactly this state. It returns
// the content as it is then: without a deletion timestamp if the state had
// changed, nil if it is gone.
func (d deletion) trigger(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	if content.DeletionTimestamp != nil {
		return content, nil
	}
	client := d.kube.VolumeSnapshotContents()
	err := kube.Do(ctx, func(ctx context.Context) error {
		return client.Delete(ctx, d.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &content.UID, ResourceVersion: &content.ResourceVersion}})
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil && !apierrors.IsConflict(err):
		return nil, fmt.Errorf("remove %s: %w", describeContent(d.name), err)
	}
	return d.getContent(ctx, d.name)
}
