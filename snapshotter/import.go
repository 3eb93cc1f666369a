package snapshotter

import (
	"context"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// importSnapshot makes the snapshot known to the cluster. Each object is made
// when the one it needs is complete: a controller that meets an incomplete one
// comes back a second later, and then two.
func (s *stage) importSnapshot(ctx context.Context) error {
	ctx, patience, stop := newPatience(ctx, s.settings.ErrorGracePeriod, s.log)
	defer stop()
	if err := s.importContent(ctx, patience); err != nil {
		return err
	}
	client := s.kube.VolumeSnapshots(s.staging)
	var err error
	wanted := &snapshotv1.VolumeSnapshot{
		ObjectMeta: s.meta(s.staging),
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{VolumeSnapshotContentName: &s.content.Name}},
	}
	wanted.Finalizers = append([]string{finalizerSnapshot}, s.provisionerMarks()...)
	s.snapshot, err = kube.Create(ctx, client, wanted)
	if err != nil {
		return fmt.Errorf("create staging VolumeSnapshot %s/%s: %w", s.staging, s.name, err)
	}
	target := kube.Target{Name: s.name, Object: describeSnapshot(s.snapshot), Until: "the snapshot controller to bind it"}
	usable, err := kube.Until(ctx, client, target, s.snapshot, func(now *snapshotv1.VolumeSnapshot) (bool, string, error) {
		return snapshotUsable(patience, now)
	})
	if err == nil {
		s.snapshot = usable
	}
	return err
}

func snapshotUsable(p *patience, now *snapshotv1.VolumeSnapshot) (bool, string, error) {
	if now == nil || now.DeletionTimestamp != nil {
		return false, "", fmt.Errorf("the staging VolumeSnapshot was deleted by someone else")
	}
	if now.Status == nil {
		return false, "no status yet", nil
	}
	if now.Status.ReadyToUse != nil && *now.Status.ReadyToUse {
		return true, "", nil
	}
	message := messageOf(now.Status.Error)
	if message != "" {
		p.failing(message)
	}
	return false, message, nil
}

func (s *stage) importContent(ctx context.Context, p *patience) error {
	client := s.kube.VolumeSnapshotContents()
	var err error
	s.content, err = kube.Create(ctx, client, s.staticContent(s.request, s.id, snapshotv1.VolumeSnapshotContentRetain, s.look, s.owner))
	if err != nil {
		return fmt.Errorf("create staging %s: %w", describeContent(s.name), err)
	}
	target := kube.Target{Name: s.name, Object: describeContent(s.name), Until: "driver " + s.id.Driver + " to find the snapshot ready to restore"}
	ready, err := kube.Until(ctx, client, target, s.content, func(now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
		return contentUsable(p, now)
	})
	if err == nil {
		s.content = ready
	}
	return err
}

func contentUsable(p *patience, now *snapshotv1.VolumeSnapshotContent) (bool, string, error) {
	if now == nil || now.DeletionTimestamp != nil {
		return false, "", fmt.Errorf("the staging VolumeSnapshotContent was deleted by someone else")
	}
	if handleOf(now) != "" && isReady(now) {
		return true, "", nil
	}
	message := contentMessage(now)
	if message == "" {
		return false, "", nil
	}
	p.failing(message)
	if saysMissing(message) {
		p.hurry(missingGrace)
	}
	return false, message, nil
}

// staticContent is a content for a snapshot that is in the storage already. It
// bears the finalizer from the start, and the mark that allows its deletion: the
// controller would set both too late.
func (s *Snapshotter) staticContent(r request, id ids.SnapshotID, policy snapshotv1.DeletionPolicy, class *string, node string) *snapshotv1.VolumeSnapshotContent {
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: r.meta("", classes.DeleteAnnotations(id.DeleteSecret), map[string]string{annotationBeingDeleted: "yes"}),
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			DeletionPolicy:          policy,
			Driver:                  id.Driver,
			VolumeSnapshotClassName: class,
			Source:                  snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: &id.Handle},
			SourceVolumeMode:        &id.Mode,
			VolumeSnapshotRef:       corev1.ObjectReference{Namespace: s.staging, Name: r.name},
		},
	}
	content.Finalizers = []string{finalizerContent}
	if node != "" {
		content.Labels[labelManagedByNode] = node
	}
	return content
}
