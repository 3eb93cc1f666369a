package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const journalBucket = "journal"

// TestVeleroKilledBeforeTheList kills Velero and the plugin with SIGKILL when the
// snapshots of a backup have been taken and the list that names them is not stored. The
// Backup is deleted, as people do with one that failed. The journal knows the snapshots,
// and a sweep removes them when it can tell that no list names them.
func TestVeleroKilledBeforeTheList(t *testing.T) {
	t.Parallel()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{journalBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	server, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{S3: s3, Bucket: journalBucket})
	require.NoError(t, err)
	claim(t, cluster, "app", "data")
	_, err = cluster.CreateClaim(t.Context(), testbed.ClaimOptions{Namespace: "app", Name: "more"})
	require.NoError(t, err)

	lost := killBeforeList(t, server, s3, "lost")

	require.Contains(t, sweep(t, cluster, 0), "Nothing is left.", "its Velero may still be at work")
	veleroCLI(t, server, "backup", "delete", "lost", "--confirm")
	requireBackupGone(t, server, "lost")
	replaceJournal(t, cluster, lost, 2*time.Hour)
	require.Contains(t, sweep(t, cluster, 0), "Nothing is left.", "it may have been deleted while it ran")

	one := withoutPlace(lost)
	for call := range lost.Data { // the other one is for later
		one.Data = map[string]string{call: lost.Data[call]}
	}
	replaceJournal(t, cluster, one, 25*time.Hour)
	require.Contains(t, sweep(t, cluster, 1), "by the annotations longshore.dev/backup-location and longshore.dev/backup-store of the ConfigMap")
	one.Annotations["longshore.dev/backup-location"] = lost.Annotations["longshore.dev/backup-location"]
	one.Annotations["longshore.dev/backup-store"] = lost.Annotations["longshore.dev/backup-store"]
	replaceJournal(t, cluster, one, 25*time.Hour)
	setBucket(t, server, "elsewhere")
	require.Contains(t, sweep(t, cluster, 1), "is at another place now")
	require.Len(t, snapshotsIn(t, cluster), 2, "in doubt nothing is removed")
	other := otherLocation(t, server)
	require.Contains(t, sweep(t, cluster, 0), "the backup is gone, and no stored list names it")
	require.Len(t, snapshotsIn(t, cluster), 1)
	require.NoError(t, server.Objects("backupstoragelocations").Delete(t.Context(), other, metav1.DeleteOptions{}))
	setBucket(t, server, journalBucket)
	require.NoError(t, server.WaitLocation(t.Context(), testbed.DefaultLocation))

	for call := range one.Data {
		delete(lost.Data, call)
	}
	replaceJournal(t, cluster, lost, 25*time.Hour)
	taken := sweptByBackups(t, server)
	require.Len(t, snapshotsIn(t, cluster), taken)
}

// withoutPlace is a journal whose Backup could not be read when it was written.
func withoutPlace(journal corev1.ConfigMap) corev1.ConfigMap {
	without := *journal.DeepCopy()
	for _, key := range []string{"longshore.dev/backup-uid", "longshore.dev/backup-location", "longshore.dev/backup-store"} {
		without.Annotations[key] = ""
	}
	return without
}

// sweptByBackups makes backups until the plugin's own sweep is done, and returns how
// many snapshots they took. The end of a backup may end the sweep of its process.
func sweptByBackups(t *testing.T, server *testbed.VeleroServer) (taken int) {
	t.Helper()
	for ; len(journals(t, server.Cluster)) > 0; taken += 2 {
		require.Less(t, taken, 6, "three backups have not swept the journal")
		name := fmt.Sprint("next-", taken)
		veleroCLI(t, server, "backup", "create", name, "--include-namespaces", "app")
		require.NoError(t, server.WaitBackup(t.Context(), name, waitLimit))
	}
	return taken
}

// killBeforeList kills Velero and the plugin when the snapshots of a backup are taken
// and its list is not stored, and starts Velero again. It returns the journal.
func killBeforeList(t *testing.T, server *testbed.VeleroServer, s3 *testbed.S3, name string) corev1.ConfigMap {
	t.Helper()
	backUpUntilList(t, server, s3, name)
	require.NoError(t, server.Kill())
	require.NoError(t, s3.Signal(syscall.SIGCONT))
	require.NoError(t, server.Start(t.Context()))
	_, err := server.WaitPhase(t.Context(), "backups", name, waitLimit, "Failed")
	require.NoError(t, err)
	requireNotInBucket(t, s3, "backups/"+name+"/"+name+"-volumesnapshots.json.gz")
	written := journalOf(t, server.Cluster)
	require.Len(t, written.Data, 2)
	require.Len(t, snapshotsIn(t, server.Cluster), 2)
	return written
}

// backUpUntilList makes a backup of the application and halts the object store while
// the snapshots are being taken. It returns when all of them are written down.
func backUpUntilList(t *testing.T, server *testbed.VeleroServer, s3 *testbed.S3, name string) {
	t.Helper()
	cluster := server.Cluster
	require.NoError(t, cluster.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{{Method: "CreateSnapshot", Delay: "1500ms"}}}))
	before := snapshotsIn(t, cluster)
	veleroCLI(t, server, "backup", "create", name, "--include-namespaces", "app")
	require.NoError(t, testbed.Poll(t.Context(), waitLimit, "a snapshot to be asked for", func(ctx context.Context) (bool, string, error) {
		contents, err := cluster.Snapshots.VolumeSnapshotContents().List(ctx, metav1.ListOptions{})
		return err == nil && len(contents.Items) > 0, "", err
	}))
	require.NoError(t, s3.Signal(syscall.SIGSTOP))
	require.NoError(t, testbed.Poll(t.Context(), waitLimit, "the snapshots to be taken", func(ctx context.Context) (bool, string, error) {
		left, err := cluster.Leftovers(ctx)
		return err == nil && len(left.StorageSnapshots) == len(before)+2 && len(left.VolumeSnapshotContents) == 0, fmt.Sprintf("%+v", left), err
	}))
	status, err := server.Status(t.Context(), "backups", name)
	require.NoError(t, err)
	require.Equal(t, "InProgress", status["phase"])
}

func journals(t *testing.T, cluster *testbed.Cluster) []corev1.ConfigMap {
	t.Helper()
	all, err := cluster.Kube.CoreV1().ConfigMaps("velero").List(t.Context(), metav1.ListOptions{LabelSelector: "longshore.dev/purpose=journal"})
	require.NoError(t, err)
	return all.Items
}

func journalOf(t *testing.T, cluster *testbed.Cluster) corev1.ConfigMap {
	t.Helper()
	all := journals(t, cluster)
	require.Len(t, all, 1)
	return all[0]
}

// replaceJournal writes a journal anew, as that of calls which ended so long ago. It may
// have been removed.
func replaceJournal(t *testing.T, cluster *testbed.Cluster, journal corev1.ConfigMap, ago time.Duration) {
	t.Helper()
	maps := cluster.Kube.CoreV1().ConfigMaps("velero")
	if err := maps.Delete(t.Context(), journal.Name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		require.NoError(t, err)
	}
	journal.ResourceVersion, journal.UID, journal.ManagedFields = "", "", nil
	journal.Annotations["longshore.dev/deadline"] = time.Now().Add(-ago).UTC().Format(time.RFC3339)
	_, err := maps.Create(t.Context(), &journal, metav1.CreateOptions{})
	require.NoError(t, err)
}

// endedLongAgo has a backup be one that ended two hours ago.
func endedLongAgo(t *testing.T, server *testbed.VeleroServer, name, phase string) {
	t.Helper()
	status := map[string]any{"phase": phase, "completionTimestamp": time.Now().Add(-2 * time.Hour).UTC().Format(time.RFC3339)}
	patchVelero(t, server, "backups", name, map[string]any{"status": status})
}

func setBucket(t *testing.T, server *testbed.VeleroServer, bucket string) {
	t.Helper()
	patchVelero(t, server, "backupstoragelocations", testbed.DefaultLocation, map[string]any{"spec": map[string]any{"objectStorage": map[string]any{"bucket": bucket}}})
}

// otherLocation makes a backup storage location at the place where the default one was, and
// returns its name.
func otherLocation(t *testing.T, server *testbed.VeleroServer) string {
	t.Helper()
	old, err := server.Objects("backupstoragelocations").Get(t.Context(), testbed.DefaultLocation, metav1.GetOptions{})
	require.NoError(t, err)
	other := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": map[string]any{"name": "other"}, "spec": old.Object["spec"],
	}}
	unstructured.RemoveNestedField(other.Object, "spec", "default")
	require.NoError(t, unstructured.SetNestedField(other.Object, journalBucket, "spec", "objectStorage", "bucket"))
	_, err = server.Objects("backupstoragelocations").Create(t.Context(), other, metav1.CreateOptions{})
	require.NoError(t, err)
	return "other"
}

func patchVelero(t *testing.T, server *testbed.VeleroServer, kind, name string, change map[string]any) {
	t.Helper()
	patch, err := json.Marshal(change)
	require.NoError(t, err)
	_, err = server.Objects(kind).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
}

func requireNotInBucket(t *testing.T, s3 *testbed.S3, key string) {
	t.Helper()
	for object := range s3Client(t, s3).ListObjects(t.Context(), journalBucket, minio.ListObjectsOptions{Prefix: key}) {
		require.NoError(t, object.Err)
		t.Fatalf("%s is in the bucket: the kill came too late", object.Key)
	}
}

// sweep sweeps by hand, wants that exit status, and returns what was said.
func sweep(t *testing.T, cluster *testbed.Cluster, status int) string {
	t.Helper()
	plugin, err := testbed.Plugin.Path(t.Context())
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), plugin, "sweep", "--kubeconfig", cluster.Kubeconfig)
	command.Env = []string{"HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true", "TMPDIR=" + os.TempDir()}
	out, _ := command.CombinedOutput()
	require.Equal(t, status, command.ProcessState.ExitCode(), "%s", out)
	t.Logf("%s", out)
	return string(out)
}
