package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// skipRetained is a policy by which a backup leaves out the volumes of one class.
const skipRetained = `version: v1
volumePolicies:
- conditions: {storageClass: [` + testbed.ClassRetain + `]}
  action: {type: skip}
`

// TestGroup: the snapshots of claims that Velero groups are taken together, and the one
// that it never asks for is removed when the backup is over. With a driver that takes
// groups they are taken as one, followed while the storage finishes them, restored, and
// deleted at once. A group that the storage does not finish is told of, and goes
// with its backup.
func TestGroup(t *testing.T) {
	t.Parallel()
	if testbed.Chosen("velero") < "1.17" {
		t.Skip("this Velero does not group volumes")
	}
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	server, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{S3: s3, Bucket: "groups", SnapshotConfig: map[string]string{"errorGracePeriod": "3s"}})
	require.NoError(t, err)
	require.NoError(t, cluster.CreateNamespace(t.Context(), "app"))
	for name, class := range map[string]string{"data": testbed.ClassImmediate, "log": testbed.ClassImmediate, "cache": testbed.ClassRetain} {
		_, err := cluster.CreateClaim(t.Context(), testbed.ClaimOptions{
			Namespace: "app", Name: name, Class: class, Labels: map[string]string{"velero.io/volume-group": "database"},
		})
		require.NoError(t, err)
	}
	policy := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "skip"}, Data: map[string]string{"policy.yaml": skipRetained}}
	_, err = cluster.Kube.CoreV1().ConfigMaps("velero").Create(t.Context(), policy, metav1.CreateOptions{})
	require.NoError(t, err)

	veleroCLI(t, server, "backup", "create", "one", "--include-namespaces", "app", "--resource-policies-configmap", "skip")
	require.NoError(t, server.WaitBackup(t.Context(), "one", waitLimit))
	logs := veleroCLI(t, server, "backup", "logs", "one")
	requireLine(t, logs, "snapshots of 3 volumes of the group were taken", "of each other by the driver's times")
	require.Equal(t, 3, strings.Count(logs, "snapshot taken"), logs)
	require.Equal(t, 2, strings.Count(veleroCLI(t, server, "backup", "describe", "one", "--details"), "Snapshot ID:"))
	require.Len(t, snapshotsIn(t, cluster), 3)
	unasked := journalOf(t, cluster)
	require.Len(t, unasked.Data, 1)

	endedLongAgo(t, server, "one", "Completed")
	replaceJournal(t, cluster, unasked, 2*time.Hour)
	require.Contains(t, sweep(t, cluster, 0), "the backup ended Completed, and no stored list names it")
	require.Empty(t, journals(t, cluster))
	require.Len(t, snapshotsIn(t, cluster), 2)

	veleroCLI(t, server, "backup", "delete", "one", "--confirm")
	requireBackupGone(t, server, "one")
	require.Empty(t, snapshotsIn(t, cluster))

	require.NoError(t, cluster.Apply(t.Context(), `{apiVersion: groupsnapshot.storage.k8s.io/v1, kind: VolumeGroupSnapshotClass, metadata: {name: groups}, driver: `+testbed.DriverName+`, deletionPolicy: Delete}`))
	unfinished := groupThatFails(t, cluster)
	require.NoError(t, cluster.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: "4s", Rules: unfinished}))
	require.NoError(t, cluster.Kube.CoreV1().ConfigMaps("velero").Delete(t.Context(), "longshore-drivers", metav1.DeleteOptions{}))
	veleroCLI(t, server, "backup", "create", "failed", "--include-namespaces", "bad")
	veleroCLI(t, server, "backup", "create", "two", "--include-namespaces", "app", "--resource-policies-configmap", "skip")
	_, err = server.WaitPhase(t.Context(), "backups", "failed", waitLimit, "PartiallyFailed")
	require.NoError(t, err)
	details := veleroCLI(t, server, "backup", "describe", "failed", "--details")
	require.GreaterOrEqual(t, strings.Count(details, "the upload was refused"), 2, details)
	require.NoError(t, server.WaitBackup(t.Context(), "two", waitLimit))
	details = veleroCLI(t, server, "backup", "describe", "two", "--details")
	require.Contains(t, details, "1 of 1 complete (snapshots)", details)
	requireLine(t, veleroCLI(t, server, "backup", "logs", "two"), "snapshots of 3 volumes of the group were taken as one")
	require.NoError(t, cluster.ControlDriver(testbed.DriverControl{}))
	require.Len(t, snapshotsIn(t, cluster), 5, "the failed group stays with its backup")
	veleroCLI(t, server, "backup", "delete", "failed", "--confirm")
	requireBackupGone(t, server, "failed")
	require.Len(t, snapshotsIn(t, cluster), 3)
	unasked = journalOf(t, cluster)
	require.Len(t, unasked.Data, 1)
	endedLongAgo(t, server, "two", "Completed")
	replaceJournal(t, cluster, unasked, 2*time.Hour)
	require.Contains(t, sweep(t, cluster, 0), "the backup has its snapshots")
	require.Empty(t, journals(t, cluster))
	require.Len(t, snapshotsIn(t, cluster), 3, "it stays with its group")

	veleroCLI(t, server, "restore", "create", "again", "--from-backup", "two", "--namespace-mappings", "app:again")
	require.NoError(t, server.WaitRestore(t.Context(), "again", waitLimit))
	for _, claim := range []string{"data", "log"} {
		_, err := cluster.WaitBound(t.Context(), "again", claim)
		require.NoError(t, err)
	}
	veleroCLI(t, server, "backup", "delete", "two", "--confirm")
	requireBackupGone(t, server, "two")
	require.Empty(t, snapshotsIn(t, cluster))
	contents, err := cluster.Dynamic.Resource(schema.GroupVersionResource{Group: "groupsnapshot.storage.k8s.io", Version: "v1", Resource: "volumegroupsnapshotcontents"}).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, contents.Items)
}

// groupThatFails makes a group of two claims, and returns rules by which the storage
// fails after it has taken their snapshots.
func groupThatFails(t *testing.T, cluster *testbed.Cluster) []testbed.DriverRule {
	t.Helper()
	require.NoError(t, cluster.CreateNamespace(t.Context(), "bad"))
	var handle string
	for _, name := range []string{"data", "log"} {
		pv, err := cluster.CreateClaim(t.Context(), testbed.ClaimOptions{Namespace: "bad", Name: name, Labels: map[string]string{"velero.io/volume-group": "database"}})
		require.NoError(t, err)
		handle = handleOf(t, cluster, pv)
	}
	const method = "CreateVolumeGroupSnapshot"
	return []testbed.DriverRule{
		{Method: method, Match: handle, Delay: "1ms", Times: 1},
		{Method: method, Match: handle, Code: "InvalidArgument", Message: "the upload was refused"},
	}
}

func requireBackupGone(t *testing.T, server *testbed.VeleroServer, name string) {
	t.Helper()
	require.NoError(t, testbed.Poll(t.Context(), waitLimit, "the Backup to be gone", func(ctx context.Context) (bool, string, error) {
		_, err := server.Objects("backups").Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), "", nil
	}))
}
