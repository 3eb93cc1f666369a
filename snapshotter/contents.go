package snapshotter

import (
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// staticContent is a VolumeSnapshotContent for a snapshot that is in the storage
// already. class names the VolumeSnapshotClass that has the secret for looking it
// up, nil if none is needed; node is the one whose sidecar is meant, "" for any.
func (s *Snapshotter) staticContent(call objects.Call, id ids.SnapshotID, policy snapshotv1.DeletionPolicy, class *string, node string) *snapshotv1.VolumeSnapshotContent {
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: call.Meta("", classes.DeleteAnnotations(id.DeleteSecret)),
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			DeletionPolicy:          policy,
			Driver:                  id.Driver,
			VolumeSnapshotClassName: class,
			Source:                  snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: &id.Handle},
			SourceVolumeMode:        &id.Mode,
			VolumeSnapshotRef:       corev1.ObjectReference{Namespace: s.settings.StagingNamespace, Name: call.Name()},
		},
	}
	if node != "" {
		content.Labels[objects.LabelManagedByNode] = node
	}
	return content
}

func (s *Snapshotter) describeContent(name string) string {
	return s.kube.VolumeSnapshotContents.Describe(name)
}
