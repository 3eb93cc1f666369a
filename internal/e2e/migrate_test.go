package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	providerAWS     = "velero.io/aws"
	movedNamespace  = "moved"
	migrationBucket = "migration"
)

// TestMoveFromAWSPlugin backs up with velero-plugin-for-aws, changes the one line
// of the location that docs/migrate-from-aws.md tells to change, and restores
// with Longshore; then it goes the same way back.
func TestMoveFromAWSPlugin(t *testing.T) {
	t.Parallel()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{migrationBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	peer, err := testbed.PluginForAWS.Path(t.Context())
	require.NoError(t, err)
	ours, err := testbed.Plugin.Path(t.Context())
	require.NoError(t, err)
	server, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{
		S3: s3, Bucket: migrationBucket, Prefix: "cluster-one", Provider: providerAWS, Plugins: []string{peer, ours},
		ServerArgs: []string{"--store-validation-frequency=5s"},
	})
	require.NoError(t, err)
	m := migration{T: t, VeleroServer: server, s3: s3}
	m.data = m.write()

	m.backUp("by-aws")
	require.NotContains(t, m.serverLog(), "backups/by-aws/velero-backup.json", "another plugin than velero-plugin-for-aws stored the backup")
	m.use(testbed.Provider)
	m.loseAndRestore("by-aws")
	m.look("by-aws")

	m.backUp("by-longshore")
	require.Contains(t, m.serverLog(), "backups/by-longshore/velero-backup.json", "another plugin than Longshore stored the backup")
	m.delete("by-aws")
	m.use(providerAWS)
	m.loseAndRestore("by-longshore")
	m.look("by-longshore")
	m.delete("by-longshore")
}

// migration is one Velero with both plugins.
type migration struct {
	*testing.T
	*testbed.VeleroServer
	s3   *testbed.S3
	data map[string][]byte // what is backed up, by ConfigMap
}

// write makes ConfigMaps that do not compress and together are more than one
// part of a multipart upload of either plugin.
func (m migration) write() map[string][]byte {
	m.Helper()
	require.NoError(m, m.Cluster.CreateNamespace(m.Context(), movedNamespace))
	data := map[string][]byte{}
	for i := range 28 {
		name := fmt.Sprintf("data-%d", i)
		data[name] = make([]byte, 700<<10)
		_, err := rand.Read(data[name])
		require.NoError(m, err)
		_, err = m.Cluster.Kube.CoreV1().ConfigMaps(movedNamespace).Create(m.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			BinaryData: map[string][]byte{"content": data[name]},
		}, metav1.CreateOptions{})
		require.NoError(m, err)
	}
	return data
}

func (m migration) backUp(name string) {
	m.Helper()
	veleroCLI(m.T, m.VeleroServer, "backup", "create", name, "--include-namespaces", movedNamespace)
	require.NoError(m, m.WaitBackup(m.Context(), name, waitLimit))
}

// use changes the one line of the location, and waits until Velero has looked at
// it anew.
func (m migration) use(provider string) {
	m.Helper()
	before, err := m.Status(m.Context(), "backupstoragelocations", testbed.DefaultLocation)
	require.NoError(m, err)
	_, err = m.Objects("backupstoragelocations").Patch(m.Context(), testbed.DefaultLocation, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"provider":%q}}`, provider), metav1.PatchOptions{})
	require.NoError(m, err)
	err = testbed.Poll(m.Context(), waitLimit, "Velero to look at the location anew", func(ctx context.Context) (bool, string, error) {
		now, err := m.Status(ctx, "backupstoragelocations", testbed.DefaultLocation)
		return now["phase"] == "Available" && now["lastValidationTime"] != before["lastValidationTime"], fmt.Sprint(now), err
	})
	require.NoError(m, err)
}

func (m migration) loseAndRestore(backup string) {
	m.Helper()
	require.NoError(m, m.Cluster.DeleteNamespace(m.Context(), movedNamespace))
	veleroCLI(m.T, m.VeleroServer, "restore", "create", backup, "--from-backup", backup)
	require.NoError(m, m.WaitRestore(m.Context(), backup, waitLimit))
	for name, content := range m.data {
		restored, err := m.Cluster.Kube.CoreV1().ConfigMaps(movedNamespace).Get(m.Context(), name, metav1.GetOptions{})
		require.NoError(m, err)
		require.Equal(m, content, restored.BinaryData["content"], name)
	}
}

// look reads through signed URLs, as people do.
func (m migration) look(backup string) {
	m.Helper()
	require.Contains(m, veleroCLI(m.T, m.VeleroServer, "backup", "describe", backup, "--details"), movedNamespace+"/data-0")
	require.Contains(m, veleroCLI(m.T, m.VeleroServer, "backup", "logs", backup), "Backed up")
	archive := filepath.Join(m.TempDir(), "backup.tar.gz")
	veleroCLI(m.T, m.VeleroServer, "backup", "download", backup, "-o", archive)
	require.Contains(m, tarNames(m.T, archive), "resources/configmaps/namespaces/"+movedNamespace+"/data-0.json")
}

func (m migration) delete(backup string) {
	m.Helper()
	prefix := "cluster-one/backups/" + backup + "/"
	stored, err := m.s3.Keys(m.Context(), migrationBucket, prefix)
	require.NoError(m, err)
	require.True(m, slices.ContainsFunc(stored, func(key string) bool { return strings.HasSuffix(key, "/velero-backup.json") }), stored)
	veleroCLI(m.T, m.VeleroServer, "backup", "delete", backup, "--confirm")
	err = testbed.Poll(m.Context(), waitLimit, "the objects of backup "+backup+" to be deleted", func(ctx context.Context) (bool, string, error) {
		left, err := m.s3.Keys(ctx, migrationBucket, prefix)
		return len(left) == 0, fmt.Sprint(left), err
	})
	require.NoError(m, err)
}

// serverLog is what the server and its plugins have logged so far.
func (m migration) serverLog() string {
	m.Helper()
	content, err := os.ReadFile(m.VeleroServer.Log())
	require.NoError(m, err)
	var stored []string
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, "Stored object") {
			stored = append(stored, line)
		}
	}
	return strings.Join(stored, "")
}
