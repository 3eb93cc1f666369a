package defaults_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const bucket = "defaults"

// verdict bounds the wait for Velero's verdict on a location.
const verdict = time.Minute

func configMap(name, kind, data string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata:
  name: %s
  namespace: velero
  labels: {velero.io/plugin-config: "", longshore.dev/s3-csi: %s}
data: %s
`, name, kind, data)
}

// TestVelero has the real Velero use locations that say nothing of where their
// storage is.
func TestVelero(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{bucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	nothing := map[string]string{}
	for key := range s3.LocationConfig() {
		nothing[key] = ""
	}
	nothing["uploadConcurrency"] = "2" // velero install wants some config
	server, err := bed.InstallVelero(t.Context(), cluster, testbed.VeleroOptions{
		S3: s3, Bucket: bucket, BackupConfig: nothing, ServerArgs: []string{"--store-validation-frequency=2s"},
	})
	require.NoError(t, err)
	storage := fmt.Sprintf(`{s3Url: %q, region: %s, s3ForcePathStyle: "true"}`, s3.Endpoint, s3.Region)
	require.NoError(t, cluster.Apply(t.Context(), configMap("storage", "ObjectStore", storage)))
	require.NoError(t, cluster.Apply(t.Context(), configMap("snapshots", "VolumeSnapshotter", `{snapshotClass: "nowhere"}`)))
	measure(t, cluster.Config)

	require.NoError(t, server.Serve(t.Context()))
	require.NoError(t, server.WaitLocation(t.Context(), testbed.DefaultLocation))
	own := map[string]any{"s3Url": "http://127.0.0.1:1", "maxRetries": "0"}
	require.Contains(t, rejected(t, server, "own", own), "127.0.0.1:1", "a key of the location's own config is used instead of the default")
	require.Contains(t, rejected(t, server, "wrong", map[string]any{"regoin": "r"}), "ConfigMap velero/storage gives defaults for region")
	snapshotClassOfDefaults(t, server)

	require.NoError(t, cluster.Apply(t.Context(), configMap("second", "ObjectStore", storage)))
	_, err = server.WaitPhase(t.Context(), "backupstoragelocations", testbed.DefaultLocation, verdict, "Unavailable")
	require.NoError(t, err)
	status, err := server.Status(t.Context(), "backupstoragelocations", testbed.DefaultLocation)
	require.NoError(t, err)
	require.Contains(t, status["message"], "velero/second, velero/storage")
}

// snapshotClassOfDefaults backs up a volume: its class is the one of the
// defaults, which there is not.
func snapshotClassOfDefaults(t *testing.T, server *testbed.VeleroServer) {
	t.Helper()
	require.NoError(t, server.Cluster.CreateNamespace(t.Context(), "app"))
	_, err := server.Cluster.CreateClaim(t.Context(), testbed.ClaimOptions{Namespace: "app", Name: "data"})
	require.NoError(t, err)
	_, err = server.CLI(t.Context(), "backup", "create", "app", "--include-namespaces", "app")
	require.NoError(t, err)
	_, err = server.WaitPhase(t.Context(), "backups", "app", 2*time.Minute, "PartiallyFailed")
	require.NoError(t, err)
	logs, err := server.CLI(t.Context(), "backup", "logs", "app")
	require.NoError(t, err)
	require.Contains(t, logs, "nowhere")
	require.Contains(t, logs, "which the setting snapshotClass names")
}

// rejected makes a location and returns why Velero finds it unavailable.
func rejected(t *testing.T, server *testbed.VeleroServer, name string, config map[string]any) string {
	t.Helper()
	_, err := server.Objects("backupstoragelocations").Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
		"metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"provider": testbed.Provider, "config": config,
			"objectStorage": map[string]any{"bucket": bucket},
		},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = server.WaitPhase(t.Context(), "backupstoragelocations", name, verdict, "Unavailable")
	require.NoError(t, err)
	status, err := server.Status(t.Context(), "backupstoragelocations", name)
	require.NoError(t, err)
	return fmt.Sprint(status["message"])
}

// measure says what the reading costs once the ConfigMap is known.
func measure(t *testing.T, config *rest.Config) {
	t.Helper()
	readings := 0
	require.Eventually(t, func() bool {
		start := time.Now()
		set, err := defaults.Read(t.Context(), config, "velero", defaults.ObjectStore)
		require.NoError(t, err)
		t.Logf("a reading took %s", time.Since(start))
		readings++
		return readings > 4 && set.ConfigMap == "velero/storage"
	}, 10*time.Second, 50*time.Millisecond)
}
