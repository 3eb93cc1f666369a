package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const badInputBucket = "bad-input"

// TestBadInput makes the mistakes that people make, in a running Velero, and
// wants each to be told by Velero itself, clearly and soon.
func TestBadInput(t *testing.T) {
	t.Parallel()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{badInputBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	server, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{
		S3: s3, Bucket: badInputBucket, ServerArgs: []string{"--store-validation-frequency=5s"},
	})
	require.NoError(t, err)

	t.Run("locations", func(t *testing.T) { testBadLocations(t, server, s3) })
	t.Run("a snapshot ID nobody wrote", func(t *testing.T) { testBadSnapshotID(t, server, s3) })
	t.Run("snapshot IDs that somebody planted", func(t *testing.T) { testPlantedIDs(t, server, s3) })
	t.Run("a volume whose claim is gone", func(t *testing.T) { testReleasedVolume(t, server) })
	t.Run("no snapshot class", func(t *testing.T) { testNoSnapshotClass(t, server) })
}

// testNoSnapshotClass backs up a claim of a driver that has no snapshot class.
func testNoSnapshotClass(t *testing.T, server *testbed.VeleroServer) {
	claim(t, server.Cluster, "classless", "data")
	require.NoError(t, server.Cluster.Snapshots.VolumeSnapshotClasses().Delete(t.Context(), testbed.SnapshotClass, metav1.DeleteOptions{}))
	logs := failingBackup(t, server, "classless")
	requireLine(t, logs, "level=error", "VolumeSnapshotClass", testbed.DriverName)
}

// testReleasedVolume backs up a volume that was released by its claim, which is no
// mistake: a snapshot needs the volume alone.
func testReleasedVolume(t *testing.T, server *testbed.VeleroServer) {
	bound := claim(t, server.Cluster, "released", "data")
	volumes := server.Cluster.Kube.CoreV1().PersistentVolumes()
	_, err := volumes.Patch(t.Context(), bound.Spec.VolumeName, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"case":"released"}},"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, server.Cluster.DeleteNamespace(t.Context(), "released"))

	veleroCLI(t, server, "backup", "create", "released", "--include-resources", "persistentvolumes", "--selector", "case=released", "--include-cluster-resources")
	require.NoError(t, server.WaitBackup(t.Context(), "released", waitLimit))
	requireLine(t, veleroCLI(t, server, "backup", "logs", "released"), "snapshot taken", bound.Spec.VolumeName)
}

// testBadSnapshotID changes a snapshot's ID in the backup's records.
func testBadSnapshotID(t *testing.T, server *testbed.VeleroServer, s3 *testbed.S3) {
	claim(t, server.Cluster, "tampered", "data")
	veleroCLI(t, server, "backup", "create", "tampered", "--include-namespaces", "tampered")
	require.NoError(t, server.WaitBackup(t.Context(), "tampered", waitLimit))
	require.NoError(t, server.Cluster.DeleteNamespace(t.Context(), "tampered"))
	replaceInObject(t, s3, "backups/tampered/tampered-volumesnapshots.json.gz", "csi://", "isc://")

	veleroCLI(t, server, "restore", "create", "tampered", "--from-backup", "tampered")
	_, err := server.WaitPhase(t.Context(), "restores", "tampered", waitLimit, "PartiallyFailed")
	require.NoError(t, err)
	logs := veleroCLI(t, server, "restore", "logs", "tampered")
	requireLine(t, logs, "level=error", "snapshot ID", "isc://")
}

// failingBackup backs up a namespace, wants that to fail in part, and returns
// the backup's logs.
func failingBackup(t *testing.T, server *testbed.VeleroServer, namespace string) string {
	t.Helper()
	veleroCLI(t, server, "backup", "create", namespace, "--include-namespaces", namespace)
	_, err := server.WaitPhase(t.Context(), "backups", namespace, waitLimit, "PartiallyFailed")
	require.NoError(t, err)
	return veleroCLI(t, server, "backup", "logs", namespace)
}

// requireLine wants a line of the logs with all the words.
func requireLine(t *testing.T, logs string, words ...string) {
	t.Helper()
	for line := range strings.Lines(logs) {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			t.Log(strings.TrimSpace(line))
			return
		}
	}
	t.Fatalf("no line with %q in the logs, which end with\n%s", words, logs[max(0, len(logs)-3000):])
}

func claim(t *testing.T, cluster *testbed.Cluster, namespace, name string) *corev1.PersistentVolumeClaim {
	t.Helper()
	require.NoError(t, cluster.CreateNamespace(t.Context(), namespace))
	made, err := cluster.CreateClaim(t.Context(), testbed.ClaimOptions{Namespace: namespace, Name: name})
	require.NoError(t, err)
	return made
}

// replaceInObject replaces text within a compressed object.
func replaceInObject(t *testing.T, s3 *testbed.S3, key, old, replacement string) {
	t.Helper()
	client := s3Client(t, s3)
	object, err := client.GetObject(t.Context(), badInputBucket, key, minio.GetObjectOptions{})
	require.NoError(t, err)
	defer object.Close()
	unzipped, err := gzip.NewReader(object)
	require.NoError(t, err)
	content, err := io.ReadAll(unzipped)
	require.NoError(t, err)
	require.Contains(t, string(content), old)

	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, err = io.WriteString(writer, strings.ReplaceAll(string(content), old, replacement))
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	_, err = client.PutObject(t.Context(), badInputBucket, key, &zipped, int64(zipped.Len()), minio.PutObjectOptions{})
	require.NoError(t, err)
}

// s3Client is a plain S3 client, to look at and change what the plugin stored.
func s3Client(t *testing.T, s3 *testbed.S3) *minio.Client {
	t.Helper()
	endpoint, err := url.Parse(s3.Endpoint)
	require.NoError(t, err)
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(s3.AccessKey, s3.SecretKey, ""),
		Region: s3.Region,
	})
	require.NoError(t, err)
	return client
}
