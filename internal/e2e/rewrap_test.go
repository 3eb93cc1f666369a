package e2e

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/story"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestEncryptionMoves encrypts a backup that was plain, restores it by a second
// Velero that has a private key of its own, and goes back to plain backups.
func TestEncryptionMoves(t *testing.T) {
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Server: testbed.MinIOServer, Buckets: []string{encryptedBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	here, there := newIdentity(t), newIdentity(t)
	options := testbed.VeleroOptions{S3: s3, Bucket: encryptedBucket, Prefix: "cluster-one"}
	one, err := bed.StartVelero(t.Context(), cluster, options)
	require.NoError(t, err)
	require.NoError(t, cluster.CreateNamespace(t.Context(), encryptedNamespace))
	makePassword(t, cluster)
	veleroCLI(t, one, "backup", "create", "plain", "--include-namespaces", encryptedNamespace)
	require.NoError(t, one.WaitBackup(t.Context(), "plain", waitLimit))

	makeIdentities(t, one, here.String())
	configure(t, one, map[string]any{
		"encryptionRecipients":     here.Recipient().String() + "," + there.Recipient().String(),
		"encryptionIdentitySecret": "longshore-encryption/identities", "encryptionRequired": "true",
	})
	require.Contains(t, byHand(t, cluster, "rewrap", "--all", "--seal-plain"), "rewrapped: cluster-one/backups/plain/plain.tar.gz\n")
	requireEncrypted(t, s3)
	require.Regexp(t, `^[0-9]+ up to date\n$`, byHand(t, cluster, "rewrap", "--all", "--seal-plain"))

	options.Namespace, options.BackupConfig = "velero-two", map[string]string{
		"encryptionRecipients": there.Recipient().String(), "encryptionIdentitySecret": "longshore-encryption/identities", "encryptionRequired": "true",
	}
	two, err := bed.InstallVelero(t.Context(), cluster, options)
	require.NoError(t, err)
	makeIdentities(t, two, there.String())
	require.NoError(t, two.Serve(t.Context()))
	require.NoError(t, two.WaitLocation(t.Context(), testbed.DefaultLocation))
	require.NoError(t, two.Restart(t.Context())) // else it looks for backups in a minute
	require.Eventually(t, func() bool {
		known, err := story.BackupNames(t.Context(), two)
		return err == nil && slices.Contains(known, "plain")
	}, waitLimit, 200*time.Millisecond, "the second Velero does not see the backup")
	restorePassword(t, two, "elsewhere", "plain")
	require.NoError(t, two.Stop())

	configure(t, one, map[string]any{"encryptionRecipients": nil, "encryptionRequired": nil})
	veleroCLI(t, one, "backup", "create", "again", "--include-namespaces", encryptedNamespace)
	require.NoError(t, one.WaitBackup(t.Context(), "again", waitLimit))
	requirePlain(t, s3, "cluster-one/backups/again/velero-backup.json")
	restorePassword(t, one, "back", "plain")
	restorePassword(t, one, "again", "again")
}

func makePassword(t *testing.T, cluster *testbed.Cluster) {
	t.Helper()
	_, err := cluster.Kube.CoreV1().Secrets(encryptedNamespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "password"}, StringData: map[string]string{"password": "of the database"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func makeIdentities(t *testing.T, server *testbed.VeleroServer, lines string) {
	t.Helper()
	_, err := server.Cluster.Kube.CoreV1().Secrets(server.Namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "longshore-encryption"}, StringData: map[string]string{"identities": lines},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// configure changes the config of the default location. A nil value removes a key.
func configure(t *testing.T, server *testbed.VeleroServer, config map[string]any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"config": config}})
	require.NoError(t, err)
	_, err = server.Objects("backupstoragelocations").Patch(t.Context(), testbed.DefaultLocation, types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
}

// restorePassword loses the namespace and restores it from a backup.
func restorePassword(t *testing.T, server *testbed.VeleroServer, name, backup string) {
	t.Helper()
	require.NoError(t, server.Cluster.DeleteNamespace(t.Context(), encryptedNamespace))
	veleroCLI(t, server, "restore", "create", name, "--from-backup", backup)
	require.NoError(t, server.WaitRestore(t.Context(), name, waitLimit))
	restored, err := server.Cluster.Kube.CoreV1().Secrets(encryptedNamespace).Get(t.Context(), "password", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "of the database", string(restored.Data["password"]))
}

func requirePlain(t *testing.T, s3 *testbed.S3, key string) {
	t.Helper()
	client, err := s3.Client()
	require.NoError(t, err)
	body, _, _, err := client.GetObject(t.Context(), encryptedBucket, key, minio.GetObjectOptions{})
	require.NoError(t, err)
	defer body.Close()
	var metadata struct{ Kind string }
	require.NoError(t, json.NewDecoder(body).Decode(&metadata))
	require.Equal(t, "Backup", metadata.Kind)
}
