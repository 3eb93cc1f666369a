package objects

import (
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// What the snapshot controllers read and write on a VolumeSnapshotContent
// (external-snapshotter, pkg/utils/util.go).
const (
	// FinalizerContent keeps a content until the driver has done its part. The
	// controller adds it only to contents that are bound to a VolumeSnapshot, so
	// one that never will be has to be made with it.
	FinalizerContent = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
	// AnnotationBeingDeleted lets csi-snapshotter act on the deletion of a content
	// that is bound. Without it the deletion of a content whose VolumeSnapshot is
	// missing would never end.
	AnnotationBeingDeleted = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
	// AnnotationBeingCreated says that the driver may have been asked for the
	// snapshot. csi-snapshotter writes it before it asks and takes it away when the
	// driver has answered for good. It is only read here.
	AnnotationBeingCreated = "snapshot.storage.kubernetes.io/volumesnapshot-being-created"
	// LabelManagedByNode tells sidecars that run on each node which one is meant.
	LabelManagedByNode = "snapshot.storage.kubernetes.io/managed-by"
)

func statusOf(content *snapshotv1.VolumeSnapshotContent) snapshotv1.VolumeSnapshotContentStatus {
	return ptr.Deref(content.Status, snapshotv1.VolumeSnapshotContentStatus{})
}

// Handle returns the snapshot's handle as csi-snapshotter reports it, "" if it
// has not yet.
func Handle(content *snapshotv1.VolumeSnapshotContent) string {
	return ptr.Deref(statusOf(content).SnapshotHandle, "")
}

// TakenAt is the snapshot's point in time as the driver tells it, the zero time if it is
// not known.
func TakenAt(content *snapshotv1.VolumeSnapshotContent) time.Time {
	if at := statusOf(content).CreationTime; at != nil {
		return time.Unix(0, *at)
	}
	return time.Time{}
}

// Ready tells whether the snapshot can be restored.
func Ready(content *snapshotv1.VolumeSnapshotContent) bool {
	return ptr.Deref(statusOf(content).ReadyToUse, false)
}

// Asking tells whether csi-snapshotter may be asking the driver for the snapshot now.
func Asking(content *snapshotv1.VolumeSnapshotContent) bool {
	_, asking := content.Annotations[AnnotationBeingCreated]
	return asking
}

// RestoreSize is the least size in bytes of a volume made from the snapshot, 0 if
// the driver does not say.
func RestoreSize(content *snapshotv1.VolumeSnapshotContent) int64 {
	return ptr.Deref(statusOf(content).RestoreSize, 0)
}

// Message returns the error in a content's status, "" if there is none.
func Message(content *snapshotv1.VolumeSnapshotContent) string {
	return ErrorText(statusOf(content).Error)
}

// Status is what csi-snapshotter reports of a snapshot, or of a group of snapshots.
type Status struct {
	Driver, Handle string // of the CSI driver, and of what it has taken, "" until then
	Ready, Asking  bool   // see [Ready] and [Asking]
	Asked          bool   // see [Asked] and [GroupAsked]
	Policy         snapshotv1.DeletionPolicy
	Message        string        // the error, "" if there is none
	State          string        // for a person
	Written        time.Duration // how long after the content was made this was last written
}

// StatusOf is what csi-snapshotter reports of a snapshot.
func StatusOf(content *snapshotv1.VolumeSnapshotContent) Status {
	return Status{
		Driver: content.Spec.Driver, Handle: Handle(content), Ready: Ready(content), Asking: Asking(content),
		Asked: Asked(content), Policy: content.Spec.DeletionPolicy,
		Message: Message(content), State: State(content), Written: written(content),
	}
}

// written is how long after it was made the status of a content was last written, by the
// clock of the API server.
func written(content metav1.Object) (after time.Duration) {
	for _, by := range content.GetManagedFields() {
		if by.Subresource == "status" && by.Time != nil {
			after = max(after, by.Time.Sub(content.GetCreationTimestamp().Time))
		}
	}
	return after
}

// ErrorText returns the message of an error in a status, "" if there is none.
func ErrorText(err *snapshotv1.VolumeSnapshotError) string {
	return ptr.Deref(ptr.Deref(err, snapshotv1.VolumeSnapshotError{}).Message, "")
}

// StandsFor tells whether a content is of that snapshot of the driver.
func StandsFor(content *snapshotv1.VolumeSnapshotContent, driver, handle string) bool {
	return content.Spec.Driver == driver && (Handle(content) == handle || ptr.Deref(content.Spec.Source.SnapshotHandle, "") == handle)
}

// Asked tells whether the driver may know the snapshot of a content: it was there before,
// or csi-snapshotter has noted that it is about to ask for it.
func Asked(content *snapshotv1.VolumeSnapshotContent) bool {
	return content.Spec.Source.VolumeHandle == nil || Asking(content) || content.Status != nil
}

// State tells how far a content is, for a person.
func State(content *snapshotv1.VolumeSnapshotContent) string {
	if message := Message(content); message != "" {
		return message
	}
	if !Asked(content) {
		return "csi-snapshotter has not begun"
	}
	return fmt.Sprintf("handle known %t, ready %t", Handle(content) != "", Ready(content))
}
