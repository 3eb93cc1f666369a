package testbed

import (
	"context"
	"path/filepath"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// liveSnapshot is the other tool's VolumeSnapshot of the application.
const liveSnapshot = "tool-live"

var toolLabels = map[string]string{"backup-tool.example.com/policy": "hourly", "app.kubernetes.io/managed-by": "backup-tool"}

// addSnapshots makes a snapshot of the application as another tool does.
func (f *Foreign) addSnapshots(ctx context.Context) error {
	claim, class := liveClaim, SnapshotClass
	_, err := f.cluster.Snapshots.VolumeSnapshots(ForeignNamespace).Create(ctx, &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: liveSnapshot, Labels: toolLabels},
		Spec: snapshotv1.VolumeSnapshotSpec{
			Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: &claim}, VolumeSnapshotClassName: &class,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	handle, err := f.waitSnapshot(ctx, ForeignNamespace, liveSnapshot)
	if err != nil {
		return err
	}
	f.folders = append(f.folders, f.snapshotFolder(handle))
	return f.addStaticSnapshot(ctx, "tool-import", ForeignNamespace, handle, nil)
}

// AddSnapshotOf makes another tool's content and VolumeSnapshot of a snapshot that
// is in the storage, with the policy Retain. Verify looks at them from then on, and
// at the snapshot only where keep says so.
func (f *Foreign) AddSnapshotOf(ctx context.Context, name, handle string, keep bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.verify(ctx); err != nil {
		return err
	}
	if err := f.addStaticSnapshot(ctx, name, ForeignNamespace, handle, nil); err != nil {
		return err
	}
	if keep {
		f.folders = append(f.folders, f.snapshotFolder(handle))
	}
	return f.calmDown(ctx)
}

// addStaticSnapshot makes a content and a VolumeSnapshot of that name.
func (f *Foreign) addStaticSnapshot(ctx context.Context, name, namespace, handle string, label func(metav1.Object)) error {
	if label == nil {
		label = func(o metav1.Object) { o.SetLabels(toolLabels) }
	}
	mode := corev1.PersistentVolumeFilesystem
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: DriverName, DeletionPolicy: snapshotv1.VolumeSnapshotContentRetain, SourceVolumeMode: &mode,
			Source:            snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: &handle},
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: namespace, Name: name},
		},
	}
	snapshot := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{VolumeSnapshotContentName: &name}},
	}
	label(content)
	label(snapshot)
	if _, err := f.cluster.Snapshots.VolumeSnapshotContents().Create(ctx, content, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := f.cluster.Snapshots.VolumeSnapshots(namespace).Create(ctx, snapshot, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := f.waitSnapshot(ctx, namespace, name)
	return err
}

// waitSnapshot waits until a VolumeSnapshot can be used, makes Verify look at it
// and its content, and returns the handle.
func (f *Foreign) waitSnapshot(ctx context.Context, namespace, name string) (handle string, err error) {
	var content string
	err = Poll(ctx, time.Minute, "snapshot "+namespace+"/"+name, func(ctx context.Context) (bool, string, error) {
		s, err := f.cluster.Snapshots.VolumeSnapshots(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil || s.Status == nil || s.Status.ReadyToUse == nil || !*s.Status.ReadyToUse {
			return false, "not ready", err
		}
		content = *s.Status.BoundVolumeSnapshotContentName
		return true, "", nil
	})
	if err != nil {
		return "", err
	}
	object, err := f.cluster.Snapshots.VolumeSnapshotContents().Get(ctx, content, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	f.track(snapshots, namespace, name)
	f.track(contents, "", content)
	return *object.Status.SnapshotHandle, nil
}

func (f *Foreign) snapshotFolder(handle string) string {
	return filepath.Join(f.cluster.Storage, "snapshots", folderOf(handle))
}
