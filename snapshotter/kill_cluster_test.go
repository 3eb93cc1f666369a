package snapshotter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

type pvType = corev1.PersistentVolume

// A process that is to be killed is this test program, told by its environment
// which call to make.
const (
	envCall  = "LONGSHORE_TEST_CALL"
	envID    = "LONGSHORE_TEST_ID"
	envClass = "LONGSHORE_TEST_CLASS"
	envPV    = "LONGSHORE_TEST_PV"

	envBackup = "LONGSHORE_TEST_BACKUP"
)

// begun is what a process prints when it begins its call.
const begun = "the call begins\n"

// runCall makes the call the environment asks for, and reports whether there is one.
func runCall() (asked bool, err error) {
	call := os.Getenv(envCall)
	if call == "" {
		return false, nil
	}
	ctx := context.Background()
	s, err := Open(ctx, logrus.New(), map[string]string{"sweepAfter": "0"})
	if err != nil {
		return true, err
	}
	fmt.Print(begun)
	switch id := os.Getenv(envID); call {
	case "create":
		_, err = s.CreateSnapshot(ctx, id, "", map[string]string{tagBackup: cmp.Or(os.Getenv(envBackup), "killed")})
	case "restore":
		_, err = s.CreateVolumeFromSnapshot(ctx, id, os.Getenv(envClass), "", nil)
	case "hand over":
		err = handOverAndAdopt(ctx, s, id, os.Getenv(envPV))
	case "delete":
		err = s.DeleteSnapshot(ctx, id)
	}
	return true, err
}

// handOverAndAdopt does what Velero and the plugin do with a restored volume, and
// stays as long as the plugin has something to do.
func handOverAndAdopt(ctx context.Context, s *Snapshotter, volumeID, template string) error {
	content, err := s.SetVolumeID(ctx, []byte(template), volumeID)
	if err != nil {
		return err
	}
	var pv corev1.PersistentVolume
	if err := json.Unmarshal(content, &pv); err != nil {
		return err
	}
	if _, err := s.kube.PersistentVolumes.Create(ctx, &pv); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // until it is killed
	defer cancel()
	<-ctx.Done()
	return nil
}

// killed starts a process that makes a call, and kills it the given time after the
// call has begun. It reports whether the kill fell inside the call.
func (b *bench) killed(after time.Duration, call, id, class string, env ...string) (inside bool) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "KUBECONFIG="+b.Kubeconfig, "VELERO_NAMESPACE=velero", envCall+"="+call, envID+"="+id, envClass+"="+class)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	line := make([]byte, len(begun))
	_, err = out.Read(line)
	require.NoError(b, err)
	require.True(b, bytes.Equal(line, []byte(begun)), "%s", line)
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	return errors.As(cmd.Wait(), &exit) && !exit.Exited()
}

// killTimes are the moments of a call at which a process is killed.
func killTimes() []time.Duration {
	var times []time.Duration
	for after := 5 * time.Millisecond; after < 700*time.Millisecond; after = after*4/3 + 10*time.Millisecond {
		times = append(times, after)
	}
	return times
}

// requireInside demands that most kills fell inside their call.
func requireInside(t *testing.T, inside int) {
	t.Helper()
	t.Logf("%d of %d kills fell inside the call", inside, len(killTimes()))
	require.GreaterOrEqual(t, inside, len(killTimes())/2)
}

// later is a Snapshotter for which all calls made so far have ended long ago.
func (b *bench) later() *Snapshotter {
	b.Helper()
	s := b.open(map[string]string{"sweepAfter": "1ms"})
	s.now = func() time.Time { return time.Now().Add(2 * pendingTime) }
	return s
}

// sweepAll sweeps until nothing is found. A second of it is two minutes for the
// sweep, which leaves csi-provisioner some for what that has begun.
func (b *bench) sweepAll() {
	b.Helper()
	s, looked, began := b.later(), false, time.Now()
	s.now = func() time.Time { return time.Now().Add(2*pendingTime + 120*time.Since(began)) }
	require.NoError(b, testbed.Poll(b.Context(), time.Minute, "the sweep to be done", func(ctx context.Context) (bool, string, error) {
		if _, err := s.Sweep(ctx); err != nil {
			// In the first seconds csi-provisioner may be making a volume.
			if !looked && time.Since(began) > 10*time.Second { // it may hold a VolumeSnapshot of a claim it gave up
				b.provisionerLooks()
				looked = true
			}
			return false, err.Error(), nil
		}
		found, err := s.FindLeftovers(ctx)
		return err == nil && len(found) == 0, fmt.Sprint(found), err
	}))
}

// provisionerLooks has csi-provisioner look after the VolumeSnapshots of claims it
// gave up, which it otherwise does now and then.
func (b *bench) provisionerLooks() {
	b.Helper()
	require.NoError(b, b.Process(testbed.CSIProvisioner.Name).Kill())
	require.NoError(b, b.Process(testbed.CSIProvisioner.Name).Restart(b.Context()))
}

// TestClusterKilledCreating: the snapshots of killed calls are swept, whenever the
// kill was, and those that a stored list names are not.
func TestClusterKilledCreating(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	b.backUpAs("killed", phaseFailed)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	inside := 0
	for _, after := range killTimes() {
		if b.killed(after, "create", b.volumeID(pv), "") {
			inside++
		}
	}
	requireInside(t, inside)
	snapshot := b.snapshotOf(pv, "killed")
	b.sweepAll()
	now, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	t.Logf("%d snapshots are in the storage, known by the journal alone", len(now.StorageSnapshots)-len(before.StorageSnapshots))

	s := b.later().WithLists(storedList{ids: []string{snapshot}, stored: true})
	_, err = s.Sweep(t.Context())
	t.Log(err) // of what other tests have left in the journal
	b.onlySnapshots(before, 1)
	left, err := s.FindLeftovers(t.Context())
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(left, func(l Leftover) bool { return l.Backup == "killed" }), "%v", left)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

func TestClusterKilledDeleting(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	inside := 0
	for i, after := range killTimes() {
		snapshot := b.snapshotOf(pv, fmt.Sprint("b", i))
		if b.killed(after, "delete", snapshot, "") {
			inside++
		}
		require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
		b.onlySnapshots(before, 0)
	}
	requireInside(t, inside)
}

// TestClusterKilledDeletingByClassGone: the content of a killed deletion whose class is gone
// fails the next deletion, and no other.
func TestClusterKilledDeletingByClassGone(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "3s", "deleteTimeout": "1m"})
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	id, err := b.parseSnapshotID(t.Context(), snapshot)
	require.NoError(t, err)
	class := "gone"
	wanted := b.staticContent(b.newCall(objects.Delete, -time.Hour), id, snapshotv1.VolumeSnapshotContentDelete, &class, "")
	wanted.Finalizers = []string{objects.FinalizerContent}
	_, err = b.kube.VolumeSnapshotContents.Create(t.Context(), wanted)
	require.NoError(t, err)
	require.ErrorContains(t, b.DeleteSnapshot(t.Context(), snapshot), `"gone"`)
	b.onlySnapshots(before, 1)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.onlySnapshots(before, 0)
}

// TestClusterKilledRestoring: a repeated restore is a new one; what the killed
// ones left is swept with the volumes, and nothing else is.
func TestClusterKilledRestoring(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	inside := 0
	for _, after := range killTimes() {
		if b.killed(after, "restore", snapshot, pv.Spec.StorageClassName) {
			inside++
		}
	}
	requireInside(t, inside)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	b.sweepAll()
	require.NoError(t, testbed.Poll(t.Context(), time.Minute, "the volumes to go", func(ctx context.Context) (bool, string, error) {
		now, err := b.Leftovers(ctx)
		volumes := len(now.StorageVolumes) - len(before.StorageVolumes)
		return unlike(before, now, 0) == "" && volumes == 1, fmt.Sprintf("%s, %d volumes more", unlike(before, now, 0), volumes), err
	}))
	require.Equal(t, "first", b.read("restored"))
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterKilledHandingOver: a restored volume is known whenever the plugin is
// killed, by a PersistentVolume or by the restore's record, and no sweep removes
// one that Velero was given.
func TestClusterKilledHandingOver(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	var told []string // records of volumes that Velero may have been given and has not
	var kept []string // handles of volumes whose hand-over had certainly not ended
	inside := 0
	for _, after := range killTimes() {
		volumeID, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
		require.NoError(t, err)
		id, err := ids.ParseNewVolumeID(volumeID)
		require.NoError(t, err)
		own := b.template(pv, fmt.Sprint("own-", after.Milliseconds()))
		if b.killed(after, "hand over", volumeID, "", envPV+"="+string(marshal(t, own))) {
			inside++
		}
		record, err := b.kube.StorageClasses.Find(t.Context(), id.Staging)
		require.NoError(t, err)
		adopted, err := b.kube.PersistentVolumes.Find(t.Context(), own.Name)
		require.NoError(t, err)
		require.False(t, record == nil && adopted == nil, "a volume that nobody knows")
		given := record != nil && stateOf(record).handedOver != ""
		t.Logf("killed after %s: record %t, handed over %t, adopted %t", after, record != nil, given, adopted != nil)
		switch {
		case adopted != nil:
			b.claimedBy(adopted, fmt.Sprint("own-", after.Milliseconds()))
		case given:
			told = append(told, record.Name)
		}
	}
	requireInside(t, inside)
	told = slices.DeleteFunc(told, func(name string) bool {
		record, err := b.kube.StorageClasses.Get(t.Context(), name)
		require.NoError(t, err)
		all, err := b.kube.PersistentVolumes.List(t.Context(), "")
		require.NoError(t, err)
		still := slices.ContainsFunc(all, func(pv *corev1.PersistentVolume) bool {
			return pv.UID == stateOf(record).volumeUID && pv.DeletionTimestamp == nil
		})
		if still {
			kept = append(kept, stateOf(record).handle)
		}
		return still
	})
	t.Logf("%d killed before the staging PersistentVolume went, %d after", len(kept), len(told))
	s := b.later()
	require.NoError(t, testbed.Poll(t.Context(), time.Minute, "all but what is told to be swept", func(ctx context.Context) (bool, string, error) {
		_, sweepErr := s.Sweep(ctx)
		found, err := s.FindLeftovers(ctx)
		var names []string
		for _, l := range found {
			names = append(names, l.Name)
		}
		return err == nil && len(names) == len(told), fmt.Sprint(names, sweepErr), err
	}))
	for _, handle := range kept {
		require.NoDirExists(t, b.volumeDir(handle))
	}
	for _, name := range told {
		record, err := b.kube.StorageClasses.Get(t.Context(), name)
		require.NoError(t, err)
		require.ErrorContains(t, s.finishHandOver(t.Context(), record), "decide by hand")
		require.DirExists(t, b.volumeDir(stateOf(record).handle), "the volume stays")
		require.NoError(t, os.RemoveAll(b.volumeDir(stateOf(record).handle)))
		_, err = b.kube.StorageClasses.Delete(t.Context(), record, nil)
		require.NoError(t, err)
	}
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
