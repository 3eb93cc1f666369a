package snapshotter

import (
	"context"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// followedContent is a content of ours that stands for a snapshot that Velero follows, or
// for a group of them, of which csi-snapshotter reports as of one.
type followedContent interface {
	metav1.Object
	describe() string // names the content, for a person
	what() string     // that it stands for: snapshot or group
	status() objects.Status
	// forget removes the content, and leaves what it stands for in the storage.
	forget(ctx context.Context) error
	// askDeletion has csi-snapshotter delete it with what it stands for.
	askDeletion(ctx context.Context) error
	untilGone(ctx context.Context) error
	// again makes another content that stands for the same.
	again(ctx context.Context, meta metav1.ObjectMeta) error
}

// followedContents finds those that the selector selects, of a snapshot or else of a group.
func (s *Snapshotter) followedContents(ctx context.Context, selector string) (all []followedContent, err error) {
	singles, err := s.kube.VolumeSnapshotContents.List(ctx, selector)
	if err != nil {
		return nil, explainMissingAPI(err)
	}
	for _, content := range singles {
		if objects.PurposeOf(content) == objects.Snapshot {
			all = append(all, followedSnapshot{content, s})
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	api, groups, err := s.contentsOfGroups(ctx, selector)
	for _, content := range groups {
		if objects.PurposeOf(content) == objects.Group {
			all = append(all, followedGroup{content, s, api})
		}
	}
	return all, err
}

// contentsOfGroups are those that the selector selects, none where the cluster has no API
// of groups. Who may not list them has made none.
func (s *Snapshotter) contentsOfGroups(ctx context.Context, selector string) (*kube.GroupSnapshots, []*kube.GroupSnapshotContent, error) {
	api, err := s.kube.GroupSnapshots(ctx)
	if err != nil || api == nil {
		return nil, nil, err
	}
	contents, err := api.Contents.List(ctx, selector)
	if apierrors.IsForbidden(err) {
		return api, nil, nil
	}
	return api, contents, err
}

type followedSnapshot struct {
	*snapshotv1.VolumeSnapshotContent
	s *Snapshotter
}

func (f followedSnapshot) describe() string       { return f.s.describeContent(f.Name) }
func (f followedSnapshot) what() string           { return "snapshot" }
func (f followedSnapshot) status() objects.Status { return objects.StatusOf(f.VolumeSnapshotContent) }

func (f followedSnapshot) forget(ctx context.Context) error {
	return f.s.forgetContent(ctx, f.VolumeSnapshotContent, f.s.unchanged(f.VolumeSnapshotContent))
}

func (f followedSnapshot) askDeletion(ctx context.Context) error {
	_, err := f.s.askDeletion(ctx, f.VolumeSnapshotContent)
	return err
}

func (f followedSnapshot) untilGone(ctx context.Context) error {
	return f.s.kube.VolumeSnapshotContents.UntilGone(ctx, f.VolumeSnapshotContent)
}

func (f followedSnapshot) again(ctx context.Context, meta metav1.ObjectMeta) error {
	meta.Finalizers = []string{objects.FinalizerContent}
	_, err := f.s.kube.VolumeSnapshotContents.Create(ctx, &snapshotv1.VolumeSnapshotContent{ObjectMeta: meta, Spec: *f.Spec.DeepCopy()})
	return err
}

type followedGroup struct {
	*kube.GroupSnapshotContent
	s   *Snapshotter
	api *kube.GroupSnapshots
}

func (f followedGroup) describe() string { return f.api.Contents.Describe(f.Name) }
func (f followedGroup) what() string     { return "group" }
func (f followedGroup) status() objects.Status {
	return objects.StatusOfGroup(f.GroupSnapshotContent)
}

func (f followedGroup) forget(ctx context.Context) error {
	return f.s.forgetGroup(ctx, f.api, f.GroupSnapshotContent)
}

func (f followedGroup) askDeletion(ctx context.Context) error {
	_, err := f.s.askGroupDeletion(ctx, f.api, f.GroupSnapshotContent)
	return err
}

func (f followedGroup) untilGone(ctx context.Context) error {
	return f.api.Contents.UntilGone(ctx, f.GroupSnapshotContent)
}

func (f followedGroup) again(ctx context.Context, meta metav1.ObjectMeta) error {
	meta.Finalizers = []string{objects.FinalizerGroup}
	_, err := f.api.Contents.Create(ctx, &kube.GroupSnapshotContent{ObjectMeta: meta, Spec: f.Spec})
	return err
}
