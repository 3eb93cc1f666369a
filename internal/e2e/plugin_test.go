package e2e

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	veleroplugin "github.com/vmware-tanzu/velero/pkg/plugin/velero"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const pluginBucket = "plugin"

// TestPluginBinary drives the built binary by Velero's own client against a
// real S3 server.
func TestPluginBinary(t *testing.T) {
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{pluginBucket}})
	require.NoError(t, err)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", s3.CredentialsFile)
	program := pluginBinary(t)
	client := newVeleroClient(t, program)
	store := openLocation(t, client, s3)

	t.Run("objects", func(t *testing.T) { testObjects(t, store) })
	t.Run("both kinds", func(t *testing.T) {
		client := newVeleroClient(t, program)
		snapshotter, err := client.GetVolumeSnapshotter(testbed.Provider)
		require.NoError(t, err)
		t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "missing"))
		_ = snapshotter.Init(nil) // there is no cluster here
		warning := client.line(t, "Velero runs with --features=EnableCSI: it snapshots CSI volumes itself and never asks this plugin; "+
			"remove EnableCSI from the server's features to use the VolumeSnapshotLocation. Backups made with it would then be restored with empty volumes: see "+
			docs.Page("migrate-from-enablecsi.md"))
		require.Equal(t, logrus.WarnLevel, warning.Level)
	})
	t.Run("restarted after a kill", func(t *testing.T) {
		killPlugins(t, program)
		require.Eventually(t, func() bool {
			_, err := store.ObjectExists(pluginBucket, "k")
			return err == nil
		}, 20*time.Second, 50*time.Millisecond)
	})
	t.Run("an upload whose client is killed", func(t *testing.T) { testClientKilled(t, s3) })
	t.Run("usage", func(t *testing.T) { testUsage(t, program, s3) })
}

func testObjects(t *testing.T, store veleroplugin.ObjectStore) {
	body := make([]byte, 40<<20+17)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(body)
	require.NoError(t, store.PutObject(pluginBucket, "backups/a/large", bytes.NewReader(body)))
	reader, err := store.GetObject(pluginBucket, "backups/a/large")
	require.NoError(t, err)
	content, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	require.True(t, bytes.Equal(body, content))
	prefixes, err := store.ListCommonPrefixes(pluginBucket, "backups/", "/")
	require.NoError(t, err)
	require.Equal(t, []string{"backups/a/"}, prefixes)
	require.NoError(t, store.DeleteObject(pluginBucket, "backups/a/large"))
	exists, err := store.ObjectExists(pluginBucket, "backups/a/large")
	require.NoError(t, err)
	require.False(t, exists)
}

// testUsage: when Velero ends a plugin, its log has one line of what the process has asked
// of S3, which it does not take for a warning.
func testUsage(t *testing.T, program string, s3 *testbed.S3) {
	client := newVeleroClient(t, program)
	store := openLocation(t, client, s3)
	require.NoError(t, store.PutObject(pluginBucket, "backups/b/small", bytes.NewReader(make([]byte, 1000))))
	_, err := store.ObjectExists(pluginBucket, "backups/b/small")
	require.NoError(t, err)
	client.CleanupClients()
	line := client.line(t, "S3 requests of this process")
	require.Equal(t, logrus.InfoLevel, line.Level)
	require.Regexp(t, `PutObject: 1 in [0-9.]+\w+, 1000 bytes sent`, line.Data["operations"])
	require.Contains(t, line.Data["operations"], "Head: ")
	require.EqualValues(t, 1000, line.Data["bytesSent"])
	lines := 0
	for _, entry := range client.logs.AllEntries() {
		require.NotContains(t, entry.Message, "failed to exit gracefully")
		if entry.Message == "S3 requests of this process" {
			lines++
		}
	}
	require.Equal(t, 1, lines)
}

// testClientKilled uploads from a process of its own and kills it after some
// parts: neither an object nor a part may be left.
func testClientKilled(t *testing.T, s3 *testbed.S3) {
	marker := filepath.Join(t.TempDir(), "uploading")
	program := pluginBinary(t)
	client := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestHelperEndlessUpload$")
	client.Env = append(os.Environ(), "HELPER_PLUGIN="+program, "HELPER_MARKER="+marker,
		"HELPER_ENDPOINT="+s3.Endpoint, "HELPER_REGION="+s3.Region)
	require.NoError(t, client.Start())
	require.Eventually(t, func() bool {
		_, err := os.Stat(marker)
		return err == nil
	}, 30*time.Second, 20*time.Millisecond, "the upload did not begin")
	plain := s3Client(t, s3)
	require.Eventually(t, func() bool { return len(uploads(t, plain)) == 1 }, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, client.Process.Kill())
	_ = client.Wait()

	require.Eventually(t, func() bool { return len(uploads(t, plain)) == 0 }, 30*time.Second, 50*time.Millisecond,
		"the plugin did not abort the upload")
	require.Eventually(t, func() bool { return len(processesOf(t, program)) == 0 }, 10*time.Second, 50*time.Millisecond,
		"the plugin outlives its client for no reason")
	_, err := plain.StatObject(t.Context(), pluginBucket, "endless", minio.StatObjectOptions{})
	require.Equal(t, "NoSuchKey", minio.ToErrorResponse(err).Code)
}

func uploads(t *testing.T, client *minio.Client) []string {
	t.Helper()
	var keys []string
	for upload := range client.ListIncompleteUploads(t.Context(), pluginBucket, "", true) {
		require.NoError(t, upload.Err)
		keys = append(keys, upload.Key)
	}
	return keys
}

// TestHelperEndlessUpload is the client that testClientKilled kills.
func TestHelperEndlessUpload(t *testing.T) {
	marker := os.Getenv("HELPER_MARKER")
	if marker == "" {
		return
	}
	client := newVeleroClient(t, os.Getenv("HELPER_PLUGIN"))
	store := openLocation(t, client, &testbed.S3{Endpoint: os.Getenv("HELPER_ENDPOINT"), Region: os.Getenv("HELPER_REGION")})
	_ = store.PutObject(pluginBucket, "endless", io.MultiReader(
		bytes.NewReader(make([]byte, 40<<20)), &endlessReader{marker: marker}))
}

func openLocation(t *testing.T, client *veleroClient, s3 *testbed.S3) veleroplugin.ObjectStore {
	t.Helper()
	store, err := client.GetObjectStore(testbed.Provider)
	require.NoError(t, err)
	config := s3.LocationConfig()
	config["bucket"] = pluginBucket
	require.NoError(t, store.Init(config))
	return store
}

// pluginBinary returns the path of a copy of the built plugin, alone in its
// folder: Velero takes every program of a folder for a plugin.
func pluginBinary(t *testing.T) string {
	t.Helper()
	built, err := testbed.Plugin.Path(t.Context())
	require.NoError(t, err)
	content, err := os.ReadFile(built)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), filepath.Base(built))
	require.NoError(t, os.WriteFile(path, content, 0o755))
	return path
}
