package objects

import (
	"fmt"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// What the snapshot controllers read and write on a VolumeGroupSnapshotContent
// (external-snapshotter, pkg/utils/util.go), as they do on a VolumeSnapshotContent.
const (
	FinalizerGroup              = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshotcontent-bound-protection"
	AnnotationGroupBeingDeleted = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-deleted"
	AnnotationGroupBeingCreated = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-created"
)

// groupAsking tells whether csi-snapshotter may be asking the driver for the group now.
func groupAsking(content *kube.GroupSnapshotContent) bool {
	_, asking := content.Annotations[AnnotationGroupBeingCreated]
	return asking
}

// GroupAsked tells whether the driver may know the group of a content: it was there before,
// or csi-snapshotter has noted that it is about to ask for it.
func GroupAsked(content *kube.GroupSnapshotContent) bool {
	return content.Spec.Source.Handles != nil || groupAsking(content) || content.Status.Handle != "" || content.Status.Error != nil
}

// GroupTaken tells whether the storage has taken and named the group of a content.
// csi-snapshotter has then told all snapshots in it.
func GroupTaken(content *kube.GroupSnapshotContent) bool {
	return !groupAsking(content) && content.Status.Handle != ""
}

// MemberOf returns the snapshot of a volume in a group, the zero value if there is none.
func MemberOf(content *kube.GroupSnapshotContent, volume string) kube.GroupSnapshotMember {
	for _, member := range content.Status.Snapshots {
		if member.VolumeHandle == volume {
			return member
		}
	}
	return kube.GroupSnapshotMember{}
}

// StatusOfGroup is what csi-snapshotter reports of a group.
func StatusOfGroup(content *kube.GroupSnapshotContent) Status {
	return Status{
		Driver: content.Spec.Driver, Handle: content.Status.Handle, Ready: content.Status.ReadyToUse, Asking: groupAsking(content),
		Asked: GroupAsked(content), Policy: content.Spec.DeletionPolicy,
		Message: ErrorText(content.Status.Error), State: GroupState(content), Written: written(content),
	}
}

// GroupState tells how far a content is, for a person.
func GroupState(content *kube.GroupSnapshotContent) string {
	if message := ErrorText(content.Status.Error); message != "" {
		return message
	}
	return fmt.Sprintf("handle known %t, snapshots %d, ready %t", content.Status.Handle != "", len(content.Status.Snapshots), content.Status.ReadyToUse)
}
