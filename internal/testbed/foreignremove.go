package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Remove takes all of it away again, objects and data, so that tests that share the
// cluster find it as it was.
func (f *Foreign) Remove(ctx context.Context) error {
	c := f.cluster
	c.mu.Lock()
	c.foreign = nil
	c.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, o := range f.objects { // The data go with the folders, whatever the drivers do.
		errs = append(errs, o.retain(ctx, c))
	}
	for _, o := range f.objects {
		errs = append(errs, o.delete(ctx, c))
	}
	for _, o := range f.objects {
		errs = append(errs, o.waitGone(ctx, c))
	}
	for _, folder := range f.folders {
		errs = append(errs, os.RemoveAll(strings.TrimSuffix(folder, "/data")))
	}
	errs = append(errs, c.DeleteNamespace(ctx, ForeignNamespace), c.DeleteNamespace(ctx, ForeignVelero))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what others have: %w", err)
	}
	return nil
}

func (o foreignObject) retain(ctx context.Context, c *Cluster) error {
	var patch string
	switch o.kind {
	case volumes:
		patch = `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`
	case contents:
		patch = `{"spec":{"deletionPolicy":"Retain"}}`
	default:
		return nil
	}
	_, err := c.Dynamic.Resource(o.kind).Patch(ctx, o.name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return ignoreNotFound(err)
}

func (o foreignObject) delete(ctx context.Context, c *Cluster) error {
	return ignoreNotFound(c.Dynamic.Resource(o.kind).Namespace(o.namespace).Delete(ctx, o.name, metav1.DeleteOptions{}))
}

// waitGone gives a content without a VolumeSnapshot the annotation by which the
// driver's sidecar lets go of it.
func (o foreignObject) waitGone(ctx context.Context, c *Cluster) error {
	return Poll(ctx, time.Minute, o.String()+" to be gone", func(ctx context.Context) (bool, string, error) {
		_, err := c.Dynamic.Resource(o.kind).Namespace(o.namespace).Get(ctx, o.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, "", nil
		}
		if err == nil && o.kind == contents {
			patch := `{"metadata":{"annotations":{"snapshot.storage.kubernetes.io/volumesnapshot-being-deleted":"yes"}}}`
			_, err = c.Dynamic.Resource(o.kind).Patch(ctx, o.name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		}
		return false, "there", ignoreNotFound(err)
	})
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
