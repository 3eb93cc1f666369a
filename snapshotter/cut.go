package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// cut waits until the storage has cut the point in time and named the snapshot,
// or, if so set, until it can be restored.
func (s shot) cut(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) (*snapshotv1.VolumeSnapshotContent, error) {
	ctx, patience, stop := newPatience(ctx, s.settings.ErrorGracePeriod, s.log)
	defer stop()
	target := kube.Target{
		Name:   content.Name,
		Object: fmt.Sprintf("%s of claim %s", describeContent(content.Name), s.claimName()),
		Until:  s.waitsFor(),
	}
	return kube.Until(ctx, s.kube.VolumeSnapshotContents(), target, content, func(now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
		return s.isCut(ctx, patience, now)
	})
}

func (s shot) waitsFor() string {
	what := "the snapshot's handle"
	if s.settings.WaitFor == waitForReady {
		what = "the snapshot to be ready to restore (waitFor: ready)"
	}
	return what + ", for which driver " + s.id.Driver + " and its csi-snapshotter have to act"
}

// isCut tells whether the snapshot is taken. The sidecar has then also taken its
// mark away; it would report an error if it did not find the content again.
func (s shot) isCut(ctx context.Context, p *patience, now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
	if now == nil || now.DeletionTimestamp != nil {
		return false, "", fmt.Errorf("%s %w", describeContent(s.name), errVanished)
	}
	_, asking := now.Annotations[annotationBeingCreated]
	if handleOf(now) != "" && !asking && (s.settings.WaitFor != waitForReady || isReady(now)) {
		return true, "", nil
	}
	message := contentMessage(now)
	return false, cmp.Or(message, fmt.Sprintf("handle %q, ready %t", handleOf(now), isReady(now))), s.judge(ctx, p, message)
}

// errVanished is a content that is gone before this call was done with it.
var errVanished = errors.New("was deleted by someone else while the snapshot was taken")

var errClassGone = errors.New("was deleted while the snapshot was taken")

// judge bears an error of the driver, unless looking at what the snapshot needs
// shows that it cannot get better.
func (s shot) judge(ctx context.Context, p *patience, message string) error {
	if message == "" || !p.failing(message) {
		return nil
	}
	if _, err := s.find(ctx, s.id); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (the driver says: %s)", err, message)
	}
	list, err := s.listClasses(ctx)
	if err == nil && !slices.ContainsFunc(list, func(c snapshotv1.VolumeSnapshotClass) bool { return c.Name == s.class.Name }) {
		// csi-snapshotter does not let go of a content for which it may have asked
		// the driver, and cannot ask again without the class.
		return fmt.Errorf("VolumeSnapshotClass %s %w; %s is being deleted, which csi-snapshotter may finish only when the class is there again (the driver says: %s)",
			s.class.Name, errClassGone, describeContent(s.name), message)
	}
	return nil
}
