package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// afterDeadline is a Snapshotter for which the deadlines of all calls have passed,
// but not the time that a driver has for a claim.
func (b *bench) afterDeadline() *Snapshotter {
	b.Helper()
	s := b.open(map[string]string{"sweepAfter": "1ms"})
	s.now = func() time.Time { return time.Now().Add(pendingTime / 2) }
	return s
}

// TestClusterDriverEndsLate: a restore that gives up while the driver works leaves
// what the driver needs; when the driver is done, the sweep removes volume and
// objects.
func TestClusterDriverEndsLate(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.ControlDriver(testbed.DriverControl{Copying: testbed.DriverCopying{Time: "25s"}}))
	hasty := b.open(map[string]string{"restoreTimeout": "5s"})
	_, err = hasty.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	t.Log(err)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.Len(t, now.StorageVolumes, len(before.StorageVolumes), "the driver is not done")
	require.Len(t, now.StorageClasses, len(before.StorageClasses)+1)
	_, err = b.afterDeadline().Sweep(t.Context())
	var left *leftError
	require.ErrorAs(t, err, &left, "the driver may still be at work")

	require.NoError(t, testbed.Poll(t.Context(), time.Minute, "the driver to be done", func(ctx context.Context) (bool, string, error) {
		now, err := b.Leftovers(ctx)
		return err == nil && len(now.PersistentVolumes) == len(before.PersistentVolumes)+1, "no volume", err
	}))
	require.NoError(t, testbed.Poll(t.Context(), time.Minute, "the sweep to remove all", func(ctx context.Context) (bool, string, error) {
		_, err := b.afterDeadline().Sweep(ctx)
		now, listErr := b.Leftovers(ctx)
		return fmt.Sprint(now) == fmt.Sprint(before), fmt.Sprint(now, err), listErr
	}))
	b.normalDriver()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterCopyingDriver: what a driver answers while it copies does not end a
// restore, however long it goes on.
func TestClusterCopyingDriver(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "2s"})
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	for _, code := range []string{"Internal", "Unavailable", "ResourceExhausted"} {
		t.Run(code, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.open(map[string]string{"errorGracePeriod": "2s"}), namespace: b.namespace}
			require.NoError(t, b.ControlDriver(testbed.DriverControl{Copying: testbed.DriverCopying{Time: "8s", Code: code}}))
			began := time.Now()
			_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored-"+strings.ToLower(code))
			require.Equal(t, "first", content)
			require.Greater(t, time.Since(began), 8*time.Second)
			require.Contains(t, b.volumesAsked(began), code, "the driver did answer so")
		})
	}
	b.normalDriver()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterDrivers: drivers of all sorts are served from the snapshot to its
// deletion.
func TestClusterDrivers(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	no := false
	for name, control := range map[string]testbed.DriverControl{
		"no-listing":   {ListSnapshots: &no},
		"long-handles": {HandleLength: 16 << 10},
		"rounds-sizes": {RoundSizesTo: 4 << 30},
		"ready-late":   {SnapshotReadyDelay: "4s"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.open(nil), namespace: b.namespace}
			require.NoError(t, b.ControlDriver(control))
			pv := b.claimed(testbed.ClaimOptions{Name: name}, "first")
			snapshot := b.snapshotOf(pv, "b1")
			b.write(name, "second")
			_, content := b.restoreAs(b.Snapshotter, snapshot, pv, name+"-restored")
			require.Equal(t, "first", content)
			b.killed(100*time.Millisecond, "restore", snapshot, pv.Spec.StorageClassName)
			b.sweepAll()
			require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
			require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot), "a second deletion")
			b.soonOnlySnapshots(before, 0)
		})
	}
}

// TestClusterPlaceRefused: where the driver has no room for the old volume's zone,
// it may make the volume in another.
func TestClusterPlaceRefused(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: testbed.ClassWaitForFirstConsumer, Node: testbed.NodeName("zone-b")}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	require.NoError(t, b.ControlDriver(testbed.DriverControl{FullZones: []string{"zone-b"}}))
	began := time.Now()
	restored, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NotEqual(t, pv.Spec.NodeAffinity, restored.Spec.NodeAffinity)
	require.Contains(t, b.volumesAsked(began), "ResourceExhausted", "the zone was asked for first")
	b.normalDriver()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterPlaceRefusedForGood: after an answer that is final csi-provisioner from 6.0
// on leaves the claim alone for five minutes, so that the next place is asked for by
// another claim.
func TestClusterPlaceRefusedForGood(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "20s"})
	pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: testbed.ClassWaitForFirstConsumer, Node: testbed.NodeName("zone-b")}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	b.rule(testbed.DriverRule{Method: "CreateVolume", Code: "InvalidArgument", Message: "no such topology", Times: 1})
	began := time.Now()
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.Equal(t, []string{"InvalidArgument", "OK"}, b.volumesAsked(began))
	b.soonOnlySnapshots(before, 0)

	b.rule(testbed.DriverRule{Method: "CreateVolume", Code: "InvalidArgument", Message: "no such topology"})
	_, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	require.ErrorContains(t, err, "no such topology")
	b.normalDriver()
	b.sweepAll()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// volumesAsked lists how the driver answered each time it was asked for a volume.
func (b *bench) volumesAsked(since time.Time) []string {
	b.Helper()
	calls, err := b.DriverCalls()
	require.NoError(b, err)
	var codes []string
	for _, call := range calls {
		if call.Method == "CreateVolume" && call.Time.After(since) {
			codes = append(codes, call.Code)
		}
	}
	return codes
}

// TestClusterTwoVeleros: neither the sweep of another Velero nor that of another
// location touches what is under way.
func TestClusterTwoVeleros(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	log := logrus.New()
	log.SetOutput(b.Output())
	other, err := OpenOn(clientFor(t, b.Config), "velero-two", log, map[string]string{"sweepAfter": "1ms"})
	require.NoError(t, err)
	other.now = func() time.Time { return time.Now().Add(2 * pendingTime) } // all its calls have ended long ago
	location := b.open(map[string]string{"snapshotTimeout": "1s", "restoreTimeout": "1s", "deleteTimeout": "1s", "sweepAfter": "1ms"})
	sweeps := func() error {
		_, err := other.Sweep(b.background())
		_, locationErr := location.Sweep(b.background())
		return errors.Join(err, locationErr)
	}
	b.rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "3s"})
	var snapshot, volume string
	b.meanwhile(objects.Snapshot, sweeps, func() { snapshot = b.snapshotOf(pv, "b1") })
	b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "3s"})
	b.meanwhile(objects.Restore, sweeps, func() {
		volume, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	})
	require.NoError(t, err)
	require.NoError(t, sweeps(), "between the two calls of a restore")
	_, content := b.adopt(b.Snapshotter, volume, pv, "restored")
	require.Equal(t, "first", content)
	b.soonOnlySnapshots(before, 1) // none was taken again in the place of one that was swept
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterClaimTouched: a claim that somebody changes while the driver works, as
// policy engines do, has csi-provisioner begin once more. The restored volumes stay
// whole, and a sweep finds what is made again even after the hand-over.
func TestClusterClaimTouched(t *testing.T) {
	const times = 4
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	touched := 0
	for i := range times {
		b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "700ms"})
		var volume string
		b.meanwhile(objects.Restore, func() error { touched++; return b.touchClaim() }, func() {
			volume, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
			require.NoError(t, err)
		})
		_, content := b.adopt(b.Snapshotter, volume, pv, fmt.Sprint("restored-", i))
		require.Equal(t, "first", content)
	}
	require.Equal(t, times, touched)
	records, err := b.kube.StorageClasses.List(t.Context(), b.owner.Selector())
	require.NoError(t, err)
	require.Len(t, records, times, "the records stay for the sweep")
	b.normalDriver()
	time.Sleep(3 * time.Second) // in the field the sweep comes after the deadline of the call
	again, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	t.Logf("the driver was asked once more %d times; %d PersistentVolumes were made again", b.askedAgain(), len(again.PersistentVolumes)-len(before.PersistentVolumes)-times)
	b.sweepAll()
	b.soonOnlySnapshots(before, 0)
	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.Len(t, now.PersistentVolumes, len(before.PersistentVolumes)+times)
	for i := range times {
		require.Equal(t, "first", b.read(fmt.Sprint("restored-", i)))
	}
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// askedAgain counts the CreateVolume calls for a name that the driver had made before.
func (b *bench) askedAgain() (again int) {
	calls, err := b.DriverCalls()
	require.NoError(b, err)
	made := map[string]bool{}
	for _, call := range calls {
		if call.Method == "CreateVolume" && call.ResultID != "" {
			if made[call.Name] {
				again++
			}
			made[call.Name] = true
		}
	}
	return again
}

// touchClaim changes the claim of the restore under way, as a policy engine might.
func (b *bench) touchClaim() error {
	claims := b.Kube.CoreV1().PersistentVolumeClaims("velero")
	found, err := claims.List(b.background(), metav1.ListOptions{LabelSelector: objects.LabelPurpose + "=" + string(objects.Restore) + "," + objects.LabelVelero + "=velero"})
	if err != nil || len(found.Items) == 0 {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	_, err = claims.Patch(b.background(), found.Items[0].Name, types.MergePatchType, []byte(`{"metadata": {"labels": {"touched": "yes"}}}`), metav1.PatchOptions{})
	return err
}

// TestClusterVolumeWatcher: a driver that forgets a volume when a kept
// PersistentVolume of it is deleted, as vSphere's does, knows the restored one.
func TestClusterVolumeWatcher(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	stop, err := b.WatchVolumes(t.Context(), testbed.LikeVSphere)
	require.NoError(t, err)
	restored, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NotContains(t, restored.Spec.CSI.VolumeAttributes, attributeProvisioner)
	deeds, err := stop()
	require.NoError(t, err)
	require.NotEmpty(t, deeds, "the driver did forget the volume, and then knew it again")
	t.Log(deeds)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterAttributesClass: the restored volume has the VolumeAttributesClass of
// the old one.
func TestClusterAttributesClass(t *testing.T) {
	b := onCluster(t, nil)
	if _, err := b.Kube.StorageV1().VolumeAttributesClasses().List(t.Context(), metav1.ListOptions{}); apierrors.IsNotFound(err) {
		t.Skip("this API server has no VolumeAttributesClass: it came with Kubernetes 1.34")
	}
	pv := b.claimed(testbed.ClaimOptions{Name: "data", AttributesClass: testbed.AttributesGold}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	id, err := ids.ParseSnapshotID(snapshot)
	require.NoError(t, err)
	require.Equal(t, testbed.AttributesGold, id.AttributesClass)
	restored, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	volumes, err := b.StoredVolumes()
	require.NoError(t, err)
	mutable := map[string]map[string]string{}
	for _, v := range volumes {
		mutable[v.ID] = v.Mutable
	}
	require.NotEmpty(t, mutable[pv.Spec.CSI.VolumeHandle])
	require.Equal(t, mutable[pv.Spec.CSI.VolumeHandle], mutable[restored.Spec.CSI.VolumeHandle])
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterWebhookAway: an API server that cannot ask a webhook is told of at
// once, and ends the call after the grace period.
func TestClusterWebhookAway(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	end, err := b.LoseWebhook(t.Context(), "persistentvolumeclaims")
	require.NoError(t, err)
	began := time.Now()
	_, err = b.open(map[string]string{"errorGracePeriod": "3s"}).CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	t.Logf("after %s: %v", time.Since(began), err)
	require.ErrorContains(t, err, "failed calling webhook")
	require.Less(t, time.Since(began), 40*time.Second)
	require.NoError(t, end(t.Context()))
	b.sweepAll()
	b.soonOnlySnapshots(before, 0)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterNoSnapshotter: without csi-snapshotter a call fails, and leaves nothing
// that needs a person.
func TestClusterNoSnapshotter(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	require.NoError(t, b.Process(testbed.CSISnapshotter.Name).Kill())
	_, err = b.open(map[string]string{"snapshotTimeout": "3s"}).CreateSnapshot(t.Context(), b.volumeID(pv), "", map[string]string{tagBackup: "b1"})
	require.ErrorContains(t, err, "csi-snapshotter has not begun")
	b.onlySnapshots(before, 0)
	require.NoError(t, b.Process(testbed.CSISnapshotter.Name).Restart(t.Context()))
	b.keepAndDelete(before, pv, "b2")
}

// TestClusterReleasedVolume: a volume whose claim is gone can be snapshotted and
// restored.
func TestClusterReleasedVolume(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: testbed.ClassRetain}, "first")
	require.NoError(t, b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Delete(t.Context(), "data", metav1.DeleteOptions{}))
	require.NoError(t, testbed.Poll(t.Context(), 20*time.Second, "the volume to be released", func(ctx context.Context) (bool, string, error) {
		now, err := b.Kube.CoreV1().PersistentVolumes().Get(ctx, pv.Name, metav1.GetOptions{})
		return err == nil && now.Status.Phase == corev1.VolumeReleased, "", err
	}))
	snapshot := b.snapshotOf(pv, "b1")
	as := pv.DeepCopy()
	as.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	_, content := b.restoreAs(b.Snapshotter, snapshot, as, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	require.NoError(t, b.Kube.CoreV1().PersistentVolumes().Delete(t.Context(), pv.Name, metav1.DeleteOptions{}))
	require.NoError(t, os.RemoveAll(b.volumeDir(pv.Spec.CSI.VolumeHandle)))
}

// TestClusterRenamedDriver: where a driver was replaced by another of the same
// storage, a setting has that one restore and delete.
func TestClusterRenamedDriver(t *testing.T) {
	onCluster(t, nil) // starts the bed
	cluster, err := shared.bed.StartCluster(t.Context(), testbed.ClusterOptions{Name: "renamed"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Kill()) })
	b := benchOn(t, cluster, nil)
	const renamed = "new.example.com"
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	require.NoError(t, b.AddDriver(t.Context(), testbed.DriverOptions{Name: renamed}))
	config := map[string]string{"driver." + testbed.DriverName: renamed, "storageClass." + pv.Spec.StorageClassName: renamed}
	b.Snapshotter = b.open(config)
	restored, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.Equal(t, renamed, restored.Spec.CSI.Driver)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	require.NoError(t, b.Kube.StorageV1().StorageClasses().Delete(t.Context(), renamed, metav1.DeleteOptions{}))
}

// TestClusterDriverGone: the snapshots of a driver that is gone for good can be given
// up, and are not by themselves.
func TestClusterDriverGone(t *testing.T) {
	b := onCluster(t, nil)
	id := ids.SnapshotID{Driver: "gone.example.com", Handle: "snap-1", Size: 1 << 30, Mode: corev1.PersistentVolumeFilesystem, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}}
	err := b.DeleteSnapshot(t.Context(), id.String())
	require.ErrorContains(t, err, "abandonedDrivers: gone.example.com")
	require.NoError(t, b.open(map[string]string{"abandonedDrivers": "gone.example.com"}).DeleteSnapshot(t.Context(), id.String()))
}

// TestClusterDependentClone: a driver that cannot delete a snapshot of which there
// are volumes says so, and the call ends after the grace period.
func TestClusterDependentClone(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "3s"})
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.ControlDriver(testbed.DriverControl{KeepSources: true}))
	began := time.Now()
	err := b.DeleteSnapshot(t.Context(), snapshot)
	t.Logf("after %s: %v", time.Since(began), err)
	require.Error(t, err)
	require.Less(t, time.Since(began), time.Minute)
	b.normalDriver()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
