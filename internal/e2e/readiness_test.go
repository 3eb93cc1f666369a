package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const readinessBucket = "readiness"

// TestReadiness makes two backups whose snapshots the storage finishes later, or never.
// Both go on, Velero follows them, also after it was killed, and tells the truth. Before
// that the storage finishes at once, and the second backup knows it.
func TestReadiness(t *testing.T) {
	t.Parallel()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{readinessBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	server, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{
		S3: s3, Bucket: readinessBucket, SnapshotConfig: map[string]string{"errorGracePeriod": "3s"},
	})
	require.NoError(t, err)
	var rules []testbed.DriverRule
	for _, namespace := range []string{"one", "two", "bad"} { // each takes the point in time
		rules = append(rules, testbed.DriverRule{Method: "CreateSnapshot", Match: handleOf(t, cluster, claim(t, cluster, namespace, "data")), Delay: "1ms", Times: 1})
	}
	followsUntilKnown(t, cluster, server)
	refused := testbed.DriverRule{Method: "CreateSnapshot", Match: rules[2].Match, Code: "InvalidArgument", Message: "the upload was refused"}
	broken := testbed.DriverRule{Method: "CreateSnapshot", Code: "Internal", Message: "the upload has broken off"}
	require.NoError(t, cluster.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: "5s", Rules: append(rules, refused, broken)}))

	veleroCLI(t, server, "backup", "create", "mixed", "--include-namespaces", "one,bad")
	waiting(t, server, "mixed")
	veleroCLI(t, server, "backup", "create", "good", "--include-namespaces", "two")
	waiting(t, server, "good")
	details := veleroCLI(t, server, "backup", "describe", "good", "--details")
	require.Contains(t, details, "0 of 1 complete (snapshots)", details)
	require.Contains(t, details, "driver "+testbed.DriverName+" works on snapshot", details)

	require.NoError(t, server.Kill())
	require.NoError(t, cluster.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{refused}}))
	require.NoError(t, server.Start(t.Context()))
	require.NoError(t, server.WaitBackup(t.Context(), "good", waitLimit))
	_, err = server.WaitPhase(t.Context(), "backups", "mixed", waitLimit, "PartiallyFailed")
	require.NoError(t, err)
	details = veleroCLI(t, server, "backup", "describe", "mixed", "--details")
	require.Contains(t, details, "the upload was refused", details)
	require.Contains(t, details, "1 of 1 complete (snapshots)", details)

	require.NoError(t, cluster.ControlDriver(testbed.DriverControl{}))
	veleroCLI(t, server, "restore", "create", "copy", "--from-backup", "good", "--namespace-mappings", "two:copy")
	require.NoError(t, server.WaitRestore(t.Context(), "copy", waitLimit))
	details = veleroCLI(t, server, "restore", "describe", "copy", "--details")
	require.Contains(t, details, "1 of 1 complete (volumes)", details)
	bound, err := cluster.Kube.CoreV1().PersistentVolumeClaims("copy").Get(t.Context(), "data", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.ClaimBound, bound.Status.Phase)
	require.Eventually(t, func() bool { return len(contentsIn(t, cluster)) == 0 }, waitLimit, 200*time.Millisecond)
	require.Len(t, snapshotsIn(t, cluster), 5, "also the one that has failed, since its backup is there")
}

// followsUntilKnown makes a backup that is followed, since no snapshot of the driver has
// been seen, and one that is not. Then that is forgotten.
func followsUntilKnown(t *testing.T, cluster *testbed.Cluster, server *testbed.VeleroServer) {
	t.Helper()
	for _, c := range []struct {
		backup     string
		operations any
	}{{"unknown", int64(1)}, {"known", nil}} {
		veleroCLI(t, server, "backup", "create", c.backup, "--include-namespaces", "two")
		require.NoError(t, server.WaitBackup(t.Context(), c.backup, waitLimit))
		status, err := server.Status(t.Context(), "backups", c.backup)
		require.NoError(t, err)
		require.Equal(t, c.operations, status["backupItemOperationsAttempted"], c.backup)
	}
	require.NoError(t, cluster.Kube.CoreV1().ConfigMaps("velero").Delete(t.Context(), "longshore-drivers", metav1.DeleteOptions{}))
}

// waiting waits until Velero has done its own work for a backup and only follows it.
func waiting(t *testing.T, server *testbed.VeleroServer, backup string) {
	t.Helper()
	_, err := server.WaitPhase(t.Context(), "backups", backup, waitLimit, "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed")
	require.NoError(t, err)
}

func handleOf(t *testing.T, cluster *testbed.Cluster, claim *corev1.PersistentVolumeClaim) string {
	t.Helper()
	pv, err := cluster.Kube.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	require.NoError(t, err)
	return pv.Spec.CSI.VolumeHandle
}

func contentsIn(t *testing.T, cluster *testbed.Cluster) []string {
	t.Helper()
	left, err := cluster.Leftovers(t.Context())
	require.NoError(t, err)
	return left.VolumeSnapshotContents
}
