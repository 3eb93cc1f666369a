package snapshotter

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// followedContent is a content of ours that stands for a snapshot that Velero follows, or
// for a group of them, see contentState.
type followedContent interface {
	metav1.Object
	describe() string // names the content, for a person
	what() string     // that it stands for: snapshot or group
	status() objects.Status
	keep(ctx context.Context) error
	askDeletion(ctx context.Context) error
	untilGone(ctx context.Context) error
	again(ctx context.Context, meta metav1.ObjectMeta) error
	isThere(ctx context.Context) bool
}

// followedContents finds those that the selector selects, of a snapshot or else of a group.
func (s *Snapshotter) followedContents(ctx context.Context, selector string) (all []followedContent, err error) {
	singles, err := s.kube.VolumeSnapshotContents.List(ctx, selector)
	if err != nil {
		return nil, explainMissingAPI(err)
	}
	for _, content := range singles {
		if objects.PurposeOf(content) == objects.Snapshot {
			all = append(all, s.singleContent(content))
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	api, groups, err := s.contentsOfGroups(ctx, selector)
	for _, content := range groups {
		if objects.PurposeOf(content) == objects.Group {
			all = append(all, s.groupContent(api, content))
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
