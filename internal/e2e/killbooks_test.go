package e2e

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// objectsOfCalls are the kinds of what a call leaves that is killed.
var objectsOfCalls = []schema.GroupVersionResource{
	{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"},
	{Group: "groupsnapshot.storage.k8s.io", Version: "v1", Resource: "volumegroupsnapshotcontents"},
	{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"},
	{Version: "v1", Resource: "configmaps"},
}

// ours lists the objects of the plugin of some kinds, but the one that notes what was seen
// of drivers.
func (k *killed) ours(kinds ...schema.GroupVersionResource) (all []unstructured.Unstructured) {
	k.Helper()
	for _, kind := range kinds {
		list, err := k.cluster.Dynamic.Resource(kind).List(k.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=longshore,longshore.dev/purpose"})
		require.NoError(k, err)
		for _, object := range list.Items {
			if object.GetAnnotations()["longshore.dev/deadline"] != "" {
				all = append(all, object)
			}
		}
	}
	return all
}

// requireState wants a backup to be in a state.
func (k *killed) requireState(want state, backup string, volumes []string) {
	k.Helper()
	var now state
	for _, content := range k.ours(objectsOfCalls[:2]...) {
		if content.GetAnnotations()["longshore.dev/backup"] != backup {
			continue
		}
		now.contents++
		for _, handle := range []string{"snapshotHandle", "volumeGroupSnapshotHandle"} {
			if text, _, _ := unstructured.NestedString(content.Object, "status", handle); text != "" {
				now.handles++
			}
		}
	}
	for _, page := range journals(k.T, k.cluster) {
		if page.Annotations["longshore.dev/backup"] == backup {
			now.written += len(page.Data)
		}
	}
	for handle := range k.snapshotsOf(volumes) {
		if !k.before[handle] {
			now.snapshots++
		}
	}
	_, now.list = k.list(backup)
	if want.handles == anyNumber {
		now.handles = anyNumber
	}
	if want.snapshots == anyNumber {
		now.snapshots = anyNumber
	}
	require.Equal(k, want, now, backup)
}

// snapshotsOf are the handles of the snapshots of volumes in the storage.
func (k *killed) snapshotsOf(volumes []string) map[string]bool {
	k.Helper()
	found := map[string]bool{}
	for handle := range snapshotsIn(k.T, k.cluster) {
		var snapshot struct{ SourceVolumeID string }
		content, err := os.ReadFile(filepath.Join(snapshotFolder(k.cluster, handle), "snapshot.json"))
		if os.IsNotExist(err) {
			continue // it has just been deleted
		}
		require.NoError(k, err)
		require.NoError(k, json.Unmarshal(content, &snapshot))
		if slices.Contains(volumes, snapshot.SourceVolumeID) {
			found[handle] = true
		}
	}
	return found
}

// list returns the handles in the list of snapshots that a backup has stored.
func (k *killed) list(backup string) (handles []string, stored bool) {
	k.Helper()
	key := "backups/" + backup + "/" + backup + "-volumesnapshots.json.gz"
	object, err := s3Client(k.T, k.s3).GetObject(k.Context(), killsBucket, key, minio.GetObjectOptions{})
	require.NoError(k, err)
	defer object.Close()
	content, err := gzip.NewReader(object)
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil, false
	}
	require.NoError(k, err)
	var list []struct {
		Status struct{ ProviderSnapshotID string }
	}
	require.NoError(k, json.NewDecoder(content).Decode(&list))
	for _, snapshot := range list {
		if id := snapshot.Status.ProviderSnapshotID; id != "" {
			handle, _, _ := strings.Cut(strings.TrimPrefix(id, "csi://"+testbed.DriverName+"/"), "?")
			handles = append(handles, handle)
		}
	}
	return handles, true
}

// requireRestore wants a restore to be at a place.
func (k *killed) requireRestore(p restorePlace, restore string) {
	k.Helper()
	restored, err := k.cluster.Kube.CoreV1().PersistentVolumes().List(k.Context(), metav1.ListOptions{LabelSelector: "velero.io/restore-name=" + restore})
	require.NoError(k, err)
	require.Equal(k, p.restored, len(restored.Items) == 1, p.name)
	if p.restored {
		return // the record goes
	}
	records := slices.DeleteFunc(k.ours(objectsOfCalls[2]), func(record unstructured.Unstructured) bool { return k.records[record.GetName()] })
	require.Len(k, records, 1, p.name)
	record := records[0]
	k.records[record.GetName()] = true
	require.Equal(k, p.given, record.GetAnnotations()["longshore.dev/handed-over"] != "", p.name)
	claims, err := k.cluster.Kube.CoreV1().PersistentVolumeClaims("velero").List(k.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + record.GetName()})
	require.NoError(k, err)
	require.Equal(k, p.claim, len(claims.Items) == 1, p.name)
	if p.claim {
		require.Equal(k, p.volume, claims.Items[0].Spec.VolumeName != "", p.name)
	}
	if p.undecided {
		k.undecided = append(k.undecided, record.GetName())
	}
}

// requireDeletion wants the deletion of a backup with some snapshots to be at a place.
func (k *killed) requireDeletion(p deletionPlace, backup string, taken []string) {
	k.Helper()
	contents := slices.DeleteFunc(k.ours(objectsOfCalls[:2]...), func(content unstructured.Unstructured) bool {
		return content.GetLabels()["longshore.dev/purpose"] != "delete"
	})
	keys, err := k.s3.Keys(k.Context(), killsBucket, "backups/"+backup+"/")
	require.NoError(k, err)
	require.Equal(k, p.objects, len(keys) > 0, p.name)
	if p.skip > 0 {
		require.Less(k, len(keys), 7, p.name)
	}
	_, err = k.server.Objects("backups").Get(k.Context(), backup, metav1.GetOptions{})
	require.NoError(k, err)
	if p.contents != anyNumber {
		require.Len(k, contents, p.contents, p.name)
		require.Equal(k, p.snapshots, k.there(taken), p.name)
	}
}

// there counts the snapshots that are in the storage.
func (k *killed) there(handles []string) (count int) {
	k.Helper()
	in := snapshotsIn(k.T, k.cluster)
	for _, handle := range handles {
		if in[handle] {
			count++
		}
	}
	return count
}

// sweepAll sweeps as if all calls had ended yesterday, and does by hand what a sweep leaves
// to a person.
func (k *killed) sweepAll() {
	k.Helper()
	var said string
	require.NoError(k, testbed.Poll(k.Context(), waitLimit, "the sweep to be done", func(ctx context.Context) (bool, string, error) {
		k.age()
		said = k.sweep()
		left := k.ours(objectsOfCalls...)
		return len(left) == len(k.undecided), said, nil
	}))
	for _, name := range k.undecided {
		require.Contains(k, said, "then delete StorageClass "+name)
		record, err := k.cluster.Kube.StorageV1().StorageClasses().Get(k.Context(), name, metav1.GetOptions{})
		require.NoError(k, err)
		require.NoError(k, os.RemoveAll(filepath.Join(k.cluster.Storage, "volumes", record.Annotations["longshore.dev/volume-handle"])))
		require.NoError(k, k.cluster.Kube.StorageV1().StorageClasses().Delete(k.Context(), name, metav1.DeleteOptions{}))
	}
	k.undecided = nil
	require.Contains(k, sweep(k.T, k.cluster, 0), "Nothing is left.")
}

// age has all calls have ended a day ago, and all backups two hours ago.
func (k *killed) age() {
	k.Helper()
	patch := fmt.Appendf(nil, `{"metadata": {"annotations": {"longshore.dev/deadline": %q}}}`, time.Now().Add(-25*time.Hour).UTC().Format(time.RFC3339))
	for _, kind := range objectsOfCalls {
		for _, object := range k.ours(kind) {
			_, err := k.cluster.Dynamic.Resource(kind).Namespace(object.GetNamespace()).Patch(k.Context(), object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
			require.NoError(k, err)
		}
	}
	all, err := k.server.Objects("backups").List(k.Context(), metav1.ListOptions{})
	require.NoError(k, err)
	for _, backup := range all.Items {
		if end, _, _ := unstructured.NestedString(backup.Object, "status", "completionTimestamp"); end == "" {
			continue // it could not be stored
		}
		phase, _, _ := unstructured.NestedString(backup.Object, "status", "phase")
		endedLongAgo(k.T, k.server, backup.GetName(), phase)
	}
}

// sweep sweeps by hand, and returns what was said.
func (k *killed) sweep() string {
	k.Helper()
	program, err := testbed.Plugin.Path(k.Context())
	require.NoError(k, err)
	command := exec.CommandContext(k.Context(), program, "sweep", "--kubeconfig", k.cluster.Kubeconfig)
	command.Env = []string{"HOME=" + k.TempDir(), "AWS_EC2_METADATA_DISABLED=true", "TMPDIR=" + os.TempDir()}
	out, _ := command.CombinedOutput() // the status is 1 while anything is left
	k.Logf("%s", out)
	return string(out)
}

// requireBooks compares what the lists in the bucket name with what the storage has.
func (k *killed) requireBooks() {
	k.Helper()
	named := map[string]bool{}
	for _, backup := range k.backups() {
		handles, _ := k.list(backup)
		for _, handle := range handles {
			named[handle] = true
		}
	}
	for _, p := range backupPlaces {
		handles, _ := k.list("s-" + p.name + "-x")
		require.Len(k, handles, p.kept, p.name)
		if p.kept > 0 {
			require.Len(k, k.listed("p-"+p.name+"-x"), p.kept, p.name)
		}
	}
	stored := snapshotsIn(k.T, k.cluster)
	for handle := range named {
		require.True(k, stored[handle], "%s is lost", handle)
	}
	for handle := range stored {
		require.True(k, slices.ContainsFunc(k.together(handle), func(member string) bool { return named[member] }), "%s is left", handle)
	}
	left, err := k.cluster.Leftovers(k.Context())
	require.NoError(k, err)
	require.Empty(k, left.VolumeSnapshotContents)
	require.Empty(k, left.VolumeSnapshots)
	require.Empty(k, left.StorageTemp)
	require.Len(k, left.StorageVolumes, len(left.PersistentVolumes), "each volume has a PersistentVolume")
	require.False(k, slices.ContainsFunc(left.Claims, func(claim string) bool { return strings.HasPrefix(claim, "velero/") }), "%v", left.Claims)
	for _, backup := range []string{"s-finalizing-x", "p-finalizing-x"} {
		k.restore("restore-"+backup, backup)
		require.NoError(k, k.server.WaitRestore(k.Context(), "restore-"+backup, waitLimit))
	}
}

// listed are the snapshots that the stored list of a backup has to name.
func (k *killed) listed(backup string) []string {
	k.Helper()
	handles, stored := k.list(backup)
	require.True(k, stored, backup)
	require.NotEmpty(k, handles, backup)
	return handles
}

func (k *killed) requireGone(handles []string) {
	k.Helper()
	require.Zero(k, k.there(handles))
}

// backups are the names of all.
func (k *killed) backups() (names []string) {
	k.Helper()
	all, err := k.server.Objects("backups").List(k.Context(), metav1.ListOptions{})
	require.NoError(k, err)
	for _, backup := range all.Items {
		names = append(names, backup.GetName())
	}
	return names
}

// together are a snapshot and those that were taken as one with it.
func (k *killed) together(handle string) []string {
	k.Helper()
	groups, err := filepath.Glob(filepath.Join(k.cluster.Storage, "groups", "*", "group.json"))
	require.NoError(k, err)
	for _, path := range groups {
		var group struct{ SnapshotIDs []string }
		content, err := os.ReadFile(path)
		require.NoError(k, err)
		require.NoError(k, json.Unmarshal(content, &group))
		if slices.Contains(group.SnapshotIDs, handle) {
			return group.SnapshotIDs
		}
	}
	return []string{handle}
}

// deleteAll deletes the backups that have snapshots, and kills the plugin while it does.
func (k *killed) deleteAll() {
	k.Helper()
	for place, backup := range map[string]string{
		"asked-for": "good", "driver-called": "p-list-stored-x", "snapshot-gone": "p-finalizing-x",
		"half-of-the-objects-gone": "s-finalizing-x", "group-asked-for": "grouped", "group-driver-called": "also-grouped",
	} {
		i := slices.IndexFunc(deletionPlaces, func(p deletionPlace) bool { return p.name == place })
		p := deletionPlaces[i]
		h := k.hold(p.place, p.s3, backup)
		k.delete(backup)
		h.await(k.T)
		k.endPlugins()
		k.end(true)
		k.delete(backup)
		requireBackupGone(k.T, k.server, backup)
	}
	var rest []string
	for _, backup := range k.backups() {
		if handles, _ := k.list(backup); len(handles) > 0 {
			rest = append(rest, backup)
			k.delete(backup)
		}
	}
	require.Contains(k, rest, "s-list-stored-x")
	for _, backup := range rest {
		requireBackupGone(k.T, k.server, backup)
	}
}

// requireNothing wants nothing to be there of backups that are all deleted.
func (k *killed) requireNothing() {
	k.Helper()
	require.Empty(k, k.ours(objectsOfCalls...))
	require.Empty(k, journals(k.T, k.cluster))
	require.Empty(k, snapshotsIn(k.T, k.cluster))
	groups, err := filepath.Glob(filepath.Join(k.cluster.Storage, "groups", "*"))
	require.NoError(k, err)
	require.Empty(k, groups)
	for _, kind := range objectsOfCalls[:2] {
		list, err := k.cluster.Dynamic.Resource(kind).List(k.Context(), metav1.ListOptions{})
		require.NoError(k, err)
		require.Empty(k, list.Items, kind.Resource)
	}
}
