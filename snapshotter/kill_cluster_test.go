package snapshotter

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

type pvType = corev1.PersistentVolume

// A process that is to be killed is this test program, told by its environment
// which call to make.
const (
	envCall  = "LONGSHORE_TEST_CALL"
	envID    = "LONGSHORE_TEST_ID"
	envClass = "LONGSHORE_TEST_CLASS"
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
	case "delete":
		err = s.DeleteSnapshot(ctx, id)
	}
	return true, err
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
		// One that is killed in the instant between giving up the object and
		// handing over the ID leaves a volume that nobody knows. Which of the
		// killed ones meet that instant is chance.
		orphans := len(now.StorageVolumes) - len(before.StorageVolumes) - restored
		return err == nil && listErr == nil && len(now.VolumeSnapshotContents) == 0 && len(now.VolumeSnapshots) == 0 &&
			len(now.Claims) == len(before.Claims)+restored && len(now.PersistentVolumes) == len(before.PersistentVolumes)+restored &&
			orphans >= 0 && orphans <= restored/3
	}, 60*time.Second, 500*time.Millisecond)
	require.Equal(t, "first", b.read("restored-0"))
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.removeOrphans()
}

// removeOrphans removes the volumes that no PersistentVolume names, as an
// administrator of the storage would.
func (b *bench) removeOrphans() {
	b.Helper()
	volumes, err := b.Kube.CoreV1().PersistentVolumes().List(b.Context(), metav1.ListOptions{})
	require.NoError(b, err)
	known := map[string]bool{}
	for _, pv := range volumes.Items {
		known[pv.Spec.CSI.VolumeHandle] = true
	}
	left, err := b.Leftovers(b.Context())
	require.NoError(b, err)
	for _, handle := range left.StorageVolumes {
		if !known[handle] {
			b.Logf("removed volume %s, which nobody knows", handle)
			require.NoError(b, os.RemoveAll(filepath.Join(b.Storage, "volumes", handle)))
		}
	}
}

func TestClusterSweep(t *testing.T) {
	b := onCluster(t, map[string]string{"snapshotTimeout": "1s", "restoreTimeout": "1s", "deleteTimeout": "1s"})
	_, err := b.Sweep(t.Context(), time.Second)
	require.ErrorContains(t, err, "timeouts")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")

	// A content whose call died before it was detached.
	id, err := ParseVolumeID(b.volumeID(pv))
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
