package testbed

import (
	"context"
	"encoding/json"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names of the work that the second Velero's plugin has under way, as the plugin
// forms them.
const (
	otherRestore  = "longshore-restore-0b5c1a52-6a6f-4f6e-9d0b-2f8e5a3c7d11"
	otherSnapshot = "longshore-5d41402abc4b2a76b971"
	forgedClaim   = "longshore-restore-f0e4c2f7-6c58-4e2b-8a4d-1b2f3c4d5e6f"
)

// addVelero makes what the plugin of a second Velero has in the middle of a restore
// and of a snapshot.
func (f *Foreign) addVelero(ctx context.Context) error {
	c := f.cluster
	if err := c.CreateNamespace(ctx, ForeignVelero); err != nil {
		return err
	}
	restore := func(o metav1.Object) { f.options.Label(o, "restore") }
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: otherRestore}, Provisioner: DriverName}
	restore(class)
	if _, err := c.Kube.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		return err
	}
	f.track(classKind, "", otherRestore)
	if err := f.addOtherClaim(ctx, restore); err != nil {
		return err
	}
	handle, err := f.liveHandle(ctx)
	if err != nil {
		return err
	}
	if err := f.addStaticSnapshot(ctx, otherRestore, ForeignVelero, handle, restore); err != nil {
		return err
	}
	return f.addOtherSnapshot(ctx)
}

// addOtherClaim makes the staging claim and its volume; both are labelled.
func (f *Foreign) addOtherClaim(ctx context.Context, label func(metav1.Object)) error {
	name, err := f.addVolume(ctx, ClaimOptions{Namespace: ForeignVelero, Name: otherRestore, Class: otherRestore, label: label})
	if err != nil {
		return err
	}
	like := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: otherRestore}}
	label(like)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": like.Labels, "annotations": like.Annotations},
		"spec":     map[string]any{"persistentVolumeReclaimPolicy": "Retain"},
	})
	if err != nil {
		return err
	}
	if err := f.patchVolume(ctx, name, string(patch)); err != nil {
		return err
	}
	f.track(claims, ForeignVelero, otherRestore)
	f.track(volumes, "", name)
	return nil
}

// addOtherSnapshot makes a content that takes a snapshot of the application, and
// has no VolumeSnapshot.
func (f *Foreign) addOtherSnapshot(ctx context.Context) error {
	handle, err := f.cluster.Handle(ctx, ForeignNamespace, liveClaim)
	if err != nil {
		return err
	}
	mode, class := corev1.PersistentVolumeFilesystem, SnapshotClass
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: otherSnapshot},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: DriverName, DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete, SourceVolumeMode: &mode,
			Source: snapshotv1.VolumeSnapshotContentSource{VolumeHandle: &handle}, VolumeSnapshotClassName: &class,
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: ForeignVelero, Name: otherSnapshot, UID: "7b0c1f6e-3d2a-4c58-9e0f-1a2b3c4d5e6f"},
		},
	}
	f.options.Label(content, "snapshot")
	made, err := f.cluster.Snapshots.VolumeSnapshotContents().Create(ctx, content, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	err = Poll(ctx, time.Minute, "the snapshot of the second Velero", func(ctx context.Context) (bool, string, error) {
		made, err = f.cluster.Snapshots.VolumeSnapshotContents().Get(ctx, otherSnapshot, metav1.GetOptions{})
		if err != nil || made.Status == nil || made.Status.SnapshotHandle == nil {
			return false, "no handle", err
		}
		return true, "", nil
	})
	if err != nil {
		return err
	}
	f.track(contents, "", otherSnapshot)
	f.folders = append(f.folders, f.snapshotFolder(*made.Status.SnapshotHandle))
	return nil
}

// liveHandle is the handle of the other tool's snapshot.
func (f *Foreign) liveHandle(ctx context.Context) (string, error) {
	snapshot, err := f.cluster.Snapshots.VolumeSnapshots(ForeignNamespace).Get(ctx, liveSnapshot, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	content, err := f.cluster.Snapshots.VolumeSnapshotContents().Get(ctx, *snapshot.Status.BoundVolumeSnapshotContentName, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return *content.Status.SnapshotHandle, nil
}

// addForgery makes a claim in our staging namespace that looks like a restore of
// ours and names the application's volume.
func (f *Foreign) addForgery(ctx context.Context) error {
	c := f.cluster
	if err := c.CreateNamespace(ctx, f.options.Staging); err != nil {
		return err
	}
	live, err := c.Kube.CoreV1().PersistentVolumeClaims(ForeignNamespace).Get(ctx, liveClaim, metav1.GetOptions{})
	if err != nil {
		return err
	}
	claim, err := c.claim(ClaimOptions{Name: forgedClaim, Class: f.options.Classes[0]})
	if err != nil {
		return err
	}
	f.options.Label(claim, "restore")
	claim.Spec.VolumeName = live.Spec.VolumeName
	if _, err := c.Kube.CoreV1().PersistentVolumeClaims(f.options.Staging).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return err
	}
	f.track(claims, f.options.Staging, forgedClaim)
	return nil
}
