package snapshotter

import (
	"context"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// annotationNudged says when csi-snapshotter was last told to look again.
const annotationNudged = "longshore.dev/nudged"

const (
	nudgeTimeout = 10 * time.Minute // as long as a content is looked after
	nudgeAfter   = 2 * time.Second  // as long as csi-snapshotter has to act by itself
)

// nudge sees to it that csi-snapshotter ends the deletion of a content for which
// it was still taking the snapshot. It may read the content as it was just before
// it took its own mark away, leave it alone for that mark, and pass over the event
// that the mark is gone: it would then look again only at its next round, up to
// 15 minutes later. Any other change makes it look.
func (s *Snapshotter) nudge(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) {
	ctx, cancel := context.WithTimeout(ctx, nudgeTimeout)
	defer cancel()
	client := s.kube.VolumeSnapshotContents()
	target := kube.Target{Name: content.Name, Object: describeContent(content.Name), Until: "csi-snapshotter to be able to delete it"}
	now, err := kube.Until(ctx, client, target, content, func(now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
		return now == nil || now.UID != content.UID || isTaken(now), "", nil
	})
	for err == nil && now != nil && now.UID == content.UID && ctx.Err() == nil {
		soon, end := context.WithTimeout(ctx, nudgeAfter)
		err = s.gone(soon, now)
		end()
		if err == nil {
			return
		}
		s.log.WithField("name", content.Name).Debug("have csi-snapshotter look again at what it has to delete")
		now, err = present(apply(ctx, client, content.Name, patch{"metadata": map[string]any{
			"uid": content.UID, "annotations": map[string]string{annotationNudged: time.Now().UTC().Format(time.RFC3339)},
		}}))
	}
}

// isTaken tells whether csi-snapshotter is done with taking the snapshot.
func isTaken(content *snapshotv1.VolumeSnapshotContent) bool {
	_, asking := content.Annotations[annotationBeingCreated]
	return handleOf(content) != "" && !asking
}
