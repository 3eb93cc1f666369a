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
// groups they are taken as one, restored, and deleted at once.
func TestGroup(t *testing.T) {
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	server, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{S3: s3, Bucket: "groups"})
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
	veleroCLI(t, server, "backup", "create", "two", "--include-namespaces", "app", "--resource-policies-configmap", "skip")
	require.NoError(t, server.WaitBackup(t.Context(), "two", waitLimit))
	requireLine(t, veleroCLI(t, server, "backup", "logs", "two"), "snapshots of 3 volumes of the group were taken as one")
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

func requireBackupGone(t *testing.T, server *testbed.VeleroServer, name string) {
	t.Helper()
	require.NoError(t, testbed.Poll(t.Context(), waitLimit, "the Backup to be gone", func(ctx context.Context) (bool, string, error) {
		_, err := server.Objects("backups").Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), "", nil
	}))
}
