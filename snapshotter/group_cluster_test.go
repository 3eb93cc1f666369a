package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// grouped makes claims of those names that are of one group, each with a file.
func (b *bench) grouped(label string, names ...string) (pvs []*corev1.PersistentVolume) {
	b.Helper()
	for _, name := range names {
		pvs = append(pvs, b.claimed(testbed.ClaimOptions{Name: name, Labels: map[string]string{label: "database"}}, "first"))
	}
	return pvs
}

// backsUp makes a Backup that is running and groups claims by the label, and returns its
// name.
func (b *bench) backsUp(label string) string {
	b.Helper()
	name := "group-" + uuid.NewString()
	b.makeVelero("backups", name, map[string]any{
		"spec":   map[string]any{"storageLocation": "default", "volumeGroupSnapshotLabelKey": label},
		"status": map[string]any{"phase": "InProgress"},
	})
	return name
}

// endsAs has a Backup be one that ended three hours ago.
func (b *bench) endsAs(name, phase string) {
	b.Helper()
	status := fmt.Sprintf(`{"status": {"phase": %q, "completionTimestamp": %q}}`, phase, time.Now().Add(-3*time.Hour).UTC().Format(time.RFC3339))
	_, err := b.veleroKind("backups").Patch(b.Context(), name, types.MergePatchType, []byte(status), metav1.PatchOptions{})
	require.NoError(b, err)
}

// writtenFor are the IDs in the journal of a backup.
func (b *bench) writtenFor(backup string) (all []string) {
	b.Helper()
	pages, err := b.journal().Pages(b.Context())
	require.NoError(b, err)
	for _, page := range pages {
		if page.Backup.Name == backup {
			for _, call := range allOf(page) {
				all = append(all, page.IDs[call])
			}
		}
	}
	return all
}

func (b *bench) requireDeleted(snapshots ...string) {
	b.Helper()
	for _, snapshot := range snapshots {
		require.NoError(b, b.DeleteSnapshot(b.Context(), snapshot))
	}
}

// TestClusterGroup: the first call takes the snapshots of all volumes of the group, the
// others get theirs, in another process too, and what Velero never asks for goes when
// the backup is over, and nothing else.
func TestClusterGroup(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	const label = "example.com/group" // that the Backup names instead of Velero's
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(label, "one", "two", "three")
	alone := b.claimed(testbed.ClaimOptions{Name: "alone"}, "first")
	other := b.claimed(testbed.ClaimOptions{Name: "other", Labels: map[string]string{label: "another"}}, "first")
	excluded := map[string]string{label: "database", "velero.io/exclude-from-backup": "true"}
	b.claimed(testbed.ClaimOptions{Name: "excluded", Labels: excluded}, "first")
	backup := b.backsUp(label)

	first := b.snapshotOf(pvs[0], backup)
	b.onlySnapshots(before, 3)
	b.write("two", "later")
	b.Snapshotter = b.open(nil) // as if the plugin had died
	second := b.snapshotOf(pvs[1], backup)
	b.onlySnapshots(before, 3)
	id, err := ids.ParseSnapshotID(second)
	require.NoError(t, err)
	require.Equal(t, ids.ClaimRef{Namespace: b.namespace, Name: "two"}, id.Claim)
	require.Len(t, b.writtenFor(backup), 3)
	single, apart := b.snapshotOf(alone, backup), b.snapshotOf(other, backup)
	b.onlySnapshots(before, 5)

	stored := []string{first, second, single, apart}
	require.NoError(t, b.NoteStored(t.Context(), backup, stored))
	unasked := b.writtenFor(backup)
	require.Len(t, unasked, 1)
	s := b.later().WithLists(storedList{ids: stored, stored: true})
	_, _ = s.Sweep(t.Context()) // other tests leave Backups behind that it cannot judge
	require.Equal(t, unasked, b.writtenFor(backup), "the backup is running")
	b.endsAs(backup, phaseCompleted)
	_, _ = s.Sweep(t.Context())
	require.Empty(t, b.writtenFor(backup))
	b.onlySnapshots(before, 4)

	_, content := b.restoreAs(b.Snapshotter, second, pvs[1], "restored")
	require.Equal(t, "first", content, "the snapshot was taken with the first one")
	again := b.backsUp(label)
	fresh := b.snapshotOf(pvs[1], again)
	require.NotEqual(t, second, fresh, "of another backup")
	_, content = b.restoreAs(b.Snapshotter, fresh, pvs[1], "fresh")
	require.Equal(t, "later", content)
	b.requireDeleted(append(stored, b.writtenFor(again)...)...)
	b.soonOnlySnapshots(before, 0)
}

// TestClusterGroupAtOnce: calls for several volumes of a group that come at the same
// time take each snapshot once.
func TestClusterGroupAtOnce(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two", "three")
	backup := b.backsUp(veleroGroup)
	both := []*Snapshotter{b.Snapshotter, b.open(nil), b.open(nil)}
	snapshots, errs := make([]string, 3), make([]error, 3)
	inParallel(3, func(i int) {
		snapshots[i], errs[i] = both[i].CreateSnapshot(t.Context(), volumeIDOf(pvs[i]).String(), "", map[string]string{tagBackup: backup})
	})
	require.NoError(t, errors.Join(errs...))
	b.onlySnapshots(before, 3)
	written := b.writtenFor(backup)
	require.ElementsMatch(t, written, snapshots)
	b.requireDeleted(snapshots...)
	require.Empty(t, b.writtenFor(backup))
}

// TestClusterGroupFails: a volume that fails does not keep the others from having their
// snapshots, and gets another chance.
func TestClusterGroupFails(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "3s"})
	b.defineVelero()
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two", "three")
	backup := b.backsUp(veleroGroup)
	b.rule(testbed.DriverRule{Method: "CreateSnapshot", Match: pvs[1].Spec.CSI.VolumeHandle, Code: "InvalidArgument", Message: "throttled"})
	b.snapshotOf(pvs[0], backup)
	require.Len(t, b.writtenFor(backup), 2)
	b.normalDriver()
	for _, pv := range pvs[1:] {
		b.snapshotOf(pv, backup)
	}
	written := b.writtenFor(backup)
	require.Len(t, written, 3)
	b.soonOnlySnapshots(before, 3)
	b.requireDeleted(written...)
	b.soonOnlySnapshots(before, 0)
}

// TestClusterGroupMixed: a group with a claim that cannot be snapshotted with the others
// is taken without it, or not at all. With off each volume is taken by itself.
func TestClusterGroupMixed(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	pvs := b.grouped(veleroGroup, "one", "two")
	unbound := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "waits", Labels: map[string]string{veleroGroup: "database"}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new(testbed.ClassWaitForFirstConsumer), AccessModes: pvs[0].Spec.AccessModes,
			Resources: corev1.VolumeResourceRequirements{Requests: pvs[0].Spec.Capacity},
		},
	}
	_, err := b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Create(t.Context(), unbound, metav1.CreateOptions{})
	require.NoError(t, err)
	take := func(mode, label string) (taken int, err error) {
		backup := b.backsUp(label)
		_, err = b.open(map[string]string{"groups": mode}).CreateSnapshot(t.Context(), b.volumeID(pvs[0]), "", map[string]string{tagBackup: backup})
		written := b.writtenFor(backup)
		b.requireDeleted(written...)
		return len(written), err
	}
	taken, err := take(GroupsOff, veleroGroup)
	require.NoError(t, err)
	require.Equal(t, 1, taken)
	taken, err = take(GroupsRequire, veleroGroup)
	require.ErrorContains(t, err, "has no VolumeGroupSnapshotClass")
	require.Zero(t, taken)
	taken, err = take(GroupsAuto, "") // as of Velero before 1.17
	require.NoError(t, err)
	require.Equal(t, 1, taken)
	_, err = take(GroupsRequire, "")
	require.ErrorContains(t, err, "Velero before 1.17")
	noSuchClass := `{"metadata": {"annotations": {"velero.io/csi-volumesnapshot-class": "nosuch"}}}`
	_, err = b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Patch(t.Context(), "two", types.MergePatchType, []byte(noSuchClass), metav1.PatchOptions{})
	require.NoError(t, err)
	taken, err = take(GroupsAuto, veleroGroup)
	require.NoError(t, err)
	require.Equal(t, 1, taken)
	taken, err = take(GroupsRequire, veleroGroup)
	require.Zero(t, taken)
	require.ErrorContains(t, err, "groups: require")
	require.ErrorContains(t, err, `/two: no VolumeSnapshotClass "nosuch"`)
}

// TestClusterGroupKilled: whenever a process is killed that takes the snapshots of a
// group, sweeps find all of them.
func TestClusterGroupKilled(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two", "three")
	inside := b.killsOfGroup(pvs[0], 50*time.Millisecond, 150*time.Millisecond, 300*time.Millisecond, 450*time.Millisecond)
	require.GreaterOrEqual(t, inside, 2)
	b.snapshotterDone()
	b.sweepAll()
	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	t.Logf("%d snapshots are in the storage, known by the journal alone", len(now.StorageSnapshots)-len(before.StorageSnapshots))
	_, err = b.later().WithLists(storedList{stored: true}).Sweep(t.Context())
	t.Log(err) // of what other tests have left in the journal
	b.soonOnlySnapshots(before, 0)
}

// killsOfGroup kills processes that take the snapshots of a group, each so long after its
// call has begun, and returns how many of them were inside the call.
func (b *bench) killsOfGroup(pv *corev1.PersistentVolume, times ...time.Duration) (inside int) {
	b.Helper()
	for _, after := range times {
		backup := b.backsUp(veleroGroup)
		if b.killed(after, "create", b.volumeID(pv), "", envBackup+"="+backup) {
			inside++
		}
		b.endsAs(backup, phaseFailed)
	}
	b.Logf("%d kills fell inside the call", inside)
	return inside
}

// snapshotterDone waits until csi-snapshotter has done what contents ask for, as it has
// long before a sweep in real life.
func (b *bench) snapshotterDone() {
	b.Helper()
	require.NoError(b, testbed.Poll(b.Context(), time.Minute, "csi-snapshotter to be done", func(ctx context.Context) (bool, string, error) {
		contents, err := b.kube.VolumeSnapshotContents.List(ctx, b.owner.Selector())
		for _, content := range contents {
			if _, asking := content.Annotations[objects.AnnotationBeingCreated]; asking || objects.Handle(content) == "" {
				return false, content.Name + ": " + objects.State(content), err
			}
		}
		return err == nil, "", err
	}))
}
