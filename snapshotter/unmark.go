package snapshotter

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// unmarkAfter is when csi-snapshotter has seen a new content for sure. It is not
// wrong if it has not: it then sets its mark and takes it away itself.
const unmarkAfter = 50 * time.Millisecond

// unmarkSoon takes the mark of a snapshot being created away while the driver is
// at work, unless stop is called first. csi-snapshotter has three requests for a
// snapshot and allows itself five a second; the last of them takes the mark away,
// and is spared where it has gone before the snapshot's handle is there.
//
// Without the mark a deletion of the content would not wait for a driver whose
// answer is lost, until csi-snapshotter asks that driver again. Our own deletions
// therefore put it back (see deletionMarks).
func (s shot) unmarkSoon(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		timer := time.NewTimer(unmarkAfter)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			if err := s.unmark(ctx, content); err != nil {
				s.log.WithError(err).Debug("leave it to csi-snapshotter to take its mark away")
			}
		}
	})
	return func() {
		end()
		waiting.Wait()
	}
}

// unmark takes the mark away. It fails if anybody has changed the content since,
// csi-snapshotter for one.
func (s shot) unmark(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	if _, marked := content.Annotations[annotationBeingCreated]; !marked {
		return nil
	}
	body, err := json.Marshal([]jsonPatch{
		{"test", "/metadata/resourceVersion", content.ResourceVersion},
		{"remove", "/metadata/annotations/" + pointer(annotationBeingCreated), nil},
	})
	if err != nil {
		return err
	}
	_, err = s.kube.VolumeSnapshotContents().Patch(ctx, content.Name, types.JSONPatchType, body, metav1.PatchOptions{})
	return err
}

// deletionMarks are the annotations with which a content is to be deleted: always
// that it may be, and that the driver may be at work for it if nobody knows better.
func (s *Snapshotter) deletionMarks(ctx context.Context, name string) (map[string]string, error) {
	marks := map[string]string{annotationBeingDeleted: "yes"}
	now, err := s.getContent(ctx, name)
	if err != nil {
		return nil, wrap(err, "get %s", describeContent(name))
	}
	if now != nil && now.Spec.Source.VolumeHandle != nil && handleOf(now) == "" && !saysFinal(contentMessage(now)) {
		marks[annotationBeingCreated] = "yes"
	}
	return marks, nil
}
