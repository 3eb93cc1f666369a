package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// goneWithGroup are the snapshots, by snapshotKey, that this process has proven to be gone
// with their group, so that Velero's calls for the other members need not ask again.
var goneWithGroup sync.Map

// deleteMember deletes the group that a snapshot is part of, once, whichever member it is
// called for first: csi-snapshotter has a driver delete no member alone, and many drivers
// would refuse. The group is of one backup, so that all of it is to go. Nothing but that
// the driver finds none of the members any more is the proof.
func (s *Snapshotter) deleteMember(ctx context.Context, call objects.Call, id ids.SnapshotID) error {
	if _, gone := goneWithGroup.Load(snapshotKey{id.Driver, id.Handle}); gone {
		return nil
	}
	for _, handle := range id.Group.Members { // a restore may be reading one
		member := id
		member.Handle = handle
		if _, err := s.awaitOthers(ctx, member); err != nil {
			return err
		}
	}
	if err := s.removeFollowedGroup(ctx, snapshotKey{id.Driver, id.Group.Handle}); err != nil {
		return fmt.Errorf("delete its group %s, which Velero follows: %w", ids.Short(id.Group.Handle), err)
	}
	if err := s.deleteGroupOf(ctx, call, id); err != nil {
		return fmt.Errorf("delete its group %s: %w", ids.Short(id.Group.Handle), err)
	}
	if err := s.requireNoMember(ctx, id); err != nil {
		return err
	}
	for _, member := range id.Group.Members {
		goneWithGroup.Store(snapshotKey{id.Driver, member}, true)
	}
	return nil
}

// removeFollowedGroup removes the contents of a group that Velero follows, with the group.
func (s *Snapshotter) removeFollowedGroup(ctx context.Context, group snapshotKey) error {
	_, contents, err := s.contentsOfGroups(ctx, s.owner.Selector()+","+objects.LabelOperation)
	for _, content := range contents {
		if err == nil && (snapshotKey{content.Spec.Driver, content.Status.Handle}) == group {
			err = s.removeFollowed(ctx, content.Labels[objects.LabelOperation])
		}
	}
	return err
}

// requireNoMember fails if the driver still finds a snapshot of a group that it has
// deleted. A driver that cannot list snapshots finds any, even one that never was: that it
// has deleted the group has to do then.
func (s *Snapshotter) requireNoMember(ctx context.Context, id ids.SnapshotID) error {
	never := id.Handle + "-never"
	handles := append([]string{never}, id.Group.Members...)
	found, errs := make([]bool, len(handles)), slices.Repeat([]error{errEnded}, len(handles))
	s.sideBySide(len(handles), func(i int) {
		member := id
		member.Handle = handles[i]
		status, err := s.lookUp(ctx, member)
		found[i], errs[i] = status != nil, err
	})
	if errs[0] == nil && found[0] {
		return nil
	}
	for i, handle := range handles {
		if found[i] && handle != never {
			errs = append(errs, fmt.Errorf("the driver has deleted the group %s, and still has its snapshot %s", ids.Short(id.Group.Handle), ids.Short(handle)))
		}
	}
	return errors.Join(errs...)
}

func (s *Snapshotter) deleteGroupOf(ctx context.Context, call objects.Call, id ids.SnapshotID) error {
	api, all, err := s.groupClasses(ctx)
	if err != nil {
		return err
	}
	if id.Group.DeleteSecret, err = classes.GroupDeleteSecret(id, all, s.settings.SnapshotSecrets); err != nil {
		return err
	}
	wanted := s.staticGroup(call, id, snapshotv1.VolumeSnapshotContentDelete, classes.GroupLookupClass(id, all))
	wanted.Finalizers = []string{objects.FinalizerGroup}
	return s.groupContent(api, wanted).deleteByIt(ctx)
}

// staticGroup is a content for a group that is in the storage already.
func (s *Snapshotter) staticGroup(call objects.Call, id ids.SnapshotID, policy snapshotv1.DeletionPolicy, class string) *kube.GroupSnapshotContent {
	return &kube.GroupSnapshotContent{
		ObjectMeta: call.Meta("", classes.GroupAnnotations(id.Group.DeleteSecret)),
		Spec: kube.GroupSnapshotContentSpec{
			DeletionPolicy: policy,
			Driver:         id.Driver,
			ClassName:      class,
			Ref:            corev1.ObjectReference{Namespace: s.settings.StagingNamespace, Name: call.Name()},
			Source:         kube.GroupSnapshotSource{Handles: &kube.GroupSnapshotHandles{Group: id.Group.Handle, Snapshots: id.Group.Members}},
		},
	}
}
