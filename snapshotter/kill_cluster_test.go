package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

type pvType = corev1.PersistentVolume

// A process that is to be killed is this test program, told by its environment
// which call to make.
const (
	envCall  = "LONGSHORE_TEST_CALL"
	envID    = "LONGSHORE_TEST_ID"
	envClass = "LONGSHORE_TEST_CLASS"
	envPV    = "LONGSHORE_TEST_PV"
)

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
	switch id := os.Getenv(envID); call {
	case "create":
		_, err = s.CreateSnapshot(ctx, id, "", map[string]string{tagBackup: "killed"})
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
	if _, err := s.kube.PersistentVolumes().Create(ctx, &pv, metav1.CreateOptions{}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // until it is killed
	defer cancel()
	<-ctx.Done()
	return nil
}

// killed starts a process that makes a call, and kills it after the given time.
func (b *bench) killed(after time.Duration, call, id, class string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envCall+"="+call, envID+"="+id, envClass+"="+class)
	require.NoError(b, cmd.Start())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	timer.Stop()
}

// killTimes are the moments at which a process is killed: from before its first
// request to after its last one.
func killTimes() []time.Duration {
	var times []time.Duration
	for after := 60 * time.Millisecond; after < 900*time.Millisecond; after += 70 * time.Millisecond {
		times = append(times, after)
	}
	return times
}

const backupCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: backups.velero.io}
spec:
  group: velero.io
  names: {kind: Backup, listKind: BackupList, plural: backups, singular: backup}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// backup makes Velero's record of a backup, without which a repeated call cannot
// be told from one for another backup of the same name.
func (b *bench) backup(name string) {
	b.Helper()
	require.NoError(b, b.Apply(b.Context(), backupCRD))
	backups := b.Dynamic.Resource(schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: "backups"}).Namespace("velero")
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("velero.io/v1")
	object.SetKind("Backup")
	object.SetName(name)
	require.Eventually(b, func() bool {
		_ = backups.Delete(b.Context(), name, metav1.DeleteOptions{})
		_, err := backups.Create(b.Context(), object, metav1.CreateOptions{})
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
}

func TestClusterKilledCreating(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	for _, after := range killTimes() {
		b.backup("killed")
		b.killed(after, "create", b.volumeID(pv), "")
		snapshot := b.snapshotOf(pv, "killed")
		require.Equal(t, snapshot, b.snapshotOf(pv, "killed"), "a repeated call gives the same snapshot")
		b.onlySnapshots(before, 1)
		require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
		b.onlySnapshots(before, 0)
	}
}

func TestClusterKilledDeleting(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	for i, after := range killTimes() {
		snapshot := b.snapshotOf(pv, fmt.Sprint("b", i))
		b.killed(after, "delete", snapshot, "")
		require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
		b.onlySnapshots(before, 0)
	}
}

// TestClusterKilledRestoring: a repeated restore is a new one; what the killed
// one left is swept, and nothing else is.
func TestClusterKilledRestoring(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	sweeper := b.open(map[string]string{"snapshotTimeout": "1s", "restoreTimeout": "1s", "deleteTimeout": "1s"})
	for i, after := range killTimes() {
		b.killed(after, "restore", snapshot, pv.Spec.StorageClassName)
		name := fmt.Sprintf("restored-%d", i)
		_, content := b.restoreAs(b.Snapshotter, snapshot, pv, name)
		require.Equal(t, "first", content)
	}
	require.Eventually(t, func() bool {
		found, err := sweeper.Sweep(t.Context(), 2*time.Second)
		for _, l := range found {
			t.Logf("swept %s %s: %s", l.Kind, l.Name, l.Remedy)
		}
		now, listErr := b.Leftovers(t.Context())
		restored := len(killTimes())
		return err == nil && listErr == nil && len(now.VolumeSnapshotContents) == 0 && len(now.VolumeSnapshots) == 0 &&
			len(now.Claims) == len(before.Claims)+restored && len(now.PersistentVolumes) == len(before.PersistentVolumes)+restored &&
			len(now.StorageVolumes) == len(before.StorageVolumes)+restored
	}, 60*time.Second, 500*time.Millisecond)
	require.Equal(t, "first", b.read("restored-0"))
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterKilledHandingOver: a restored volume is known by a PersistentVolume
// whenever the plugin is killed, and no sweep removes one that Velero was given.
func TestClusterKilledHandingOver(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	var given, own []string // PersistentVolumes: the staging ones that are marked, and Velero's
	for after := 20 * time.Millisecond; after < 160*time.Millisecond; after += 10 * time.Millisecond {
		volumeID, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
		require.NoError(t, err)
		id, err := ids.ParseNewVolumeID(volumeID)
		require.NoError(t, err)
		template := b.template(pv, fmt.Sprint("own-", after.Milliseconds()))
		b.Setenv(envPV, string(marshal(t, template)))
		b.killed(after, "hand over", volumeID, "")

		all, err := b.listVolumes(t.Context())
		require.NoError(t, err)
		known := map[string]bool{} // by the name, whether it is marked
		for i := range all {
			if hasVolume(&all[i], id.Driver, id.Handle) && all[i].DeletionTimestamp == nil {
				known[all[i].Name] = isHandedOver(&all[i])
			}
		}
		require.NotEmpty(t, known, "a volume that nobody knows")
		_, adopted := known[template.Name]
		t.Logf("killed after %s: staging %t, marked %t, adopted %t", after, len(known) == 2 || !adopted, known[id.Staging], adopted)
		switch {
		case adopted:
			own = append(own, template.Name)
		case known[id.Staging]:
			given = append(given, id.Staging)
		}
	}
	b.sweepUntil(before, given, len(own))
	for _, name := range given {
		_, err := apply(t.Context(), b.kube.PersistentVolumes(), name, patch{"spec": map[string]any{"persistentVolumeReclaimPolicy": "Delete"}})
		require.NoError(t, err)
	}
	for _, name := range own {
		_, err := apply(t.Context(), b.kube.PersistentVolumes(), name, patch{"spec": map[string]any{"claimRef": map[string]any{"uid": "never-was"}}})
		require.NoError(t, err)
	}
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// sweepUntil sweeps until nothing is left but the given PersistentVolumes, of
// which the sweep only tells, and Velero's own.
func (b *bench) sweepUntil(before testbed.Leftovers, given []string, own int) {
	b.Helper()
	sweeper := b.open(map[string]string{"snapshotTimeout": "1s", "restoreTimeout": "1s", "deleteTimeout": "1s"})
	require.Eventually(b, func() bool {
		_, sweepErr := sweeper.Sweep(b.Context(), 2*time.Second)
		now, err := b.Leftovers(b.Context())
		left := len(given) + own
		return err == nil && (sweepErr != nil) == (len(given) > 0) &&
			len(now.PersistentVolumes) == len(before.PersistentVolumes)+left && len(now.StorageVolumes) == len(before.StorageVolumes)+left
	}, 60*time.Second, 500*time.Millisecond)
	found, err := sweeper.FindLeftovers(b.Context(), 2*time.Second)
	require.NoError(b, err)
	var told []string
	for _, l := range found {
		told = append(told, l.Name)
	}
	require.ElementsMatch(b, given, told)
}

// TestClusterHandsOver: SetVolumeID gives a volume once, and only one that is
// still there; a volume that nobody adopts stays known.
func TestClusterHandsOver(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	sweeper := b.open(map[string]string{"snapshotTimeout": "1s", "restoreTimeout": "1s", "deleteTimeout": "1s"})
	restore := func() (string, ids.NewVolumeID) {
		volumeID, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
		require.NoError(t, err)
		id, err := ids.ParseNewVolumeID(volumeID)
		require.NoError(t, err)
		return volumeID, id
	}
	staging := func(id ids.NewVolumeID) *pvType {
		kept, err := b.getVolume(t.Context(), id.Staging)
		require.NoError(t, err)
		return kept
	}

	adopted, id := restore()
	kept := staging(id)
	require.Equal(t, corev1.PersistentVolumeReclaimRetain, kept.Spec.PersistentVolumeReclaimPolicy)
	require.Equal(t, purposeRestore, purposeOf(kept))
	require.Equal(t, "true", kept.Labels[labelExclude])
	_, content := b.adopt(b.Snapshotter, adopted, pv, "adopted")
	require.Equal(t, "first", content)
	require.Eventually(t, func() bool { return staging(id) == nil }, 10*time.Second, 20*time.Millisecond)
	_, err := b.SetVolumeID(t.Context(), marshal(t, b.template(pv, "adopted")), adopted)
	require.NoError(t, err, "once more, after a lost answer")

	swept, id := restore()
	require.Eventually(t, func() bool {
		_, err := sweeper.Sweep(t.Context(), 1500*time.Millisecond)
		return err == nil && staging(id) == nil
	}, 20*time.Second, 100*time.Millisecond)
	_, err = b.SetVolumeID(t.Context(), marshal(t, b.template(pv, "swept")), swept)
	require.ErrorContains(t, err, "restore again")

	given, id := restore()
	_, err = b.SetVolumeID(t.Context(), marshal(t, b.template(pv, "given")), given)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		found, err := sweeper.Sweep(t.Context(), 1500*time.Millisecond)
		return len(found) == 1 && found[0].Name == id.Staging && err != nil
	}, 20*time.Second, 100*time.Millisecond)
	require.NotNil(t, staging(id), "Velero was given its volume")
	_, content = b.adopt(b.Snapshotter, given, pv, "given")
	require.Equal(t, "first", content, "Velero's own may come late")
	require.Eventually(t, func() bool { return staging(id) == nil }, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

func TestClusterSweep(t *testing.T) {
	b := onCluster(t, map[string]string{"snapshotTimeout": "1s", "restoreTimeout": "1s", "deleteTimeout": "1s"})
	_, err := b.Sweep(t.Context(), time.Second)
	require.ErrorContains(t, err, "timeouts")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")

	// A content whose call died before it was detached.
	id, err := ids.ParseVolumeID(b.volumeID(pv))
	require.NoError(t, err)
	volume, err := b.find(t.Context(), id)
	require.NoError(t, err)
	class, err := b.classFor(t.Context(), id.Driver, volume)
	require.NoError(t, err)
	of := backup{name: "dead"}
	r := snapshotRequest(id, of)
	dead := shot{b.Snapshotter, r, volume, id, of, class, b.logFor(r)}
	wanted, err := dead.content(t.Context())
	require.NoError(t, err)
	content, err := dead.begin(t.Context(), wanted)
	require.NoError(t, err)
	cut, err := dead.cut(t.Context(), content)
	require.NoError(t, err)
	_, err = dead.keep(t.Context(), cut)
	require.NoError(t, err)

	none, err := b.FindLeftovers(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Empty(t, none, "what is young may be in use")
	var found []Leftover
	require.Eventually(t, func() bool {
		found, err = b.FindLeftovers(t.Context(), 1500*time.Millisecond)
		return err == nil && len(found) == 1
	}, 10*time.Second, 100*time.Millisecond)
	require.Equal(t, "dead", found[0].Backup)
	require.Equal(t, r.name, found[0].Name)
	_, err = b.Sweep(t.Context(), 1500*time.Millisecond)
	require.NoError(t, err)
	b.onlySnapshots(before, 0)
}
