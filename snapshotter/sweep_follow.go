package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// followedLeftovers finds what is left of operations that Velero does not ask for any
// more, since their backup is over. The backup has the snapshot, or the journal.
func (s *Snapshotter) followedLeftovers(ctx context.Context, contents []*snapshotv1.VolumeSnapshotContent) (found []Leftover, err error) {
	maps := s.kube.ConfigMaps.In(s.owner.Velero)
	failures, err := maps.List(ctx, s.owner.Selector()+","+objects.LabelPurpose+"="+string(objects.Failure))
	errs := []error{err}
	for _, content := range contents {
		over, err := s.isOver(ctx, content)
		if over {
			found = s.appendLeftover(found, "VolumeSnapshotContent", content, "remove it; its backup is over, and the snapshot stays in the storage", s.singleContent(content).keep)
		}
		errs = append(errs, err)
	}
	for _, failure := range failures {
		over, err := s.isOver(ctx, failure)
		if over {
			found = s.appendLeftover(found, "ConfigMap", failure, "remove it: its backup is over", func(ctx context.Context) error {
				_, err := maps.Delete(ctx, failure, nil)
				return err
			})
		}
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// isOver tells whether an object is of an operation whose backup has ended, or is gone.
func (s *Snapshotter) isOver(ctx context.Context, object metav1.Object) (bool, error) {
	if object.GetLabels()[objects.LabelOperation] == "" || objects.PurposeOf(object) == "" {
		return false, nil
	}
	backup, err := s.findBackup(ctx, object.GetAnnotations()[objects.AnnotationBackup])
	if err != nil {
		return false, fmt.Errorf("look for leftovers of operation %s: %w", object.GetLabels()[objects.LabelOperation], err)
	}
	return backup == nil || slices.Contains(ended, backup.Status.Phase), nil
}
