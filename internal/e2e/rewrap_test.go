package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/story"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestEncryptionMoves encrypts a backup that was plain, changes the key, and restores it
// in a second cluster, which has a private key of its own. Then it leaves encryption: new
// backups are plain, the old ones are decrypted, and velero-plugin-for-aws restores them.
func TestEncryptionMoves(t *testing.T) {
	for _, server := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer} {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			moveEncryption(t, server)
		})
	}
}

func moveEncryption(t *testing.T, server testbed.S3Server) {
	t.Helper()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Server: server, Buckets: []string{encryptedBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	old, here, there := newIdentity(t), newIdentity(t), newIdentity(t)
	peer, err := testbed.PluginForAWS.Path(t.Context())
	require.NoError(t, err)
	ours, err := testbed.Plugin.Path(t.Context())
	require.NoError(t, err)
	options := testbed.VeleroOptions{
		S3: s3, Bucket: encryptedBucket, Prefix: "cluster-one", Plugins: []string{ours, peer}, ServerArgs: []string{"--store-validation-frequency=5s"},
	}
	one, err := bed.StartVelero(t.Context(), cluster, options)
	require.NoError(t, err)
	require.NoError(t, cluster.CreateNamespace(t.Context(), encryptedNamespace))
	makePassword(t, cluster)
	veleroCLI(t, one, "backup", "create", "plain", "--include-namespaces", encryptedNamespace)
	require.NoError(t, one.WaitBackup(t.Context(), "plain", waitLimit))

	makeIdentities(t, one, old.String()+"\n"+here.String())
	configure(t, one, map[string]any{
		"encryptionRecipients":     old.Recipient().String(),
		"encryptionIdentitySecret": "longshore-encryption/identities", "encryptionRequired": "true",
	})
	require.Contains(t, byHand(t, cluster, "rewrap", "--all", "--seal-plain"), "rewrapped: cluster-one/backups/plain/plain.tar.gz\n")
	requireEncrypted(t, s3)
	require.Regexp(t, `^[0-9]+ up to date\n$`, byHand(t, cluster, "rewrap", "--all", "--seal-plain"))

	configure(t, one, map[string]any{"encryptionRecipients": here.Recipient().String() + "," + there.Recipient().String()})
	require.Contains(t, byHand(t, cluster, "rewrap", "--all"), "rewrapped: cluster-one/backups/plain/plain.tar.gz\n")
	replaceIdentities(t, one, here.String())
	restorePassword(t, one, "by-new-key", "plain")

	restoreWithOwnKey(t, bed, options, there, here.Recipient())

	configure(t, one, map[string]any{"encryptionRecipients": nil, "encryptionRequired": nil})
	veleroCLI(t, one, "backup", "create", "again", "--include-namespaces", encryptedNamespace)
	require.NoError(t, one.WaitBackup(t.Context(), "again", waitLimit))
	requirePlain(t, s3, "again")
	restorePassword(t, one, "back", "plain")

	require.Contains(t, byHand(t, cluster, "rewrap", "--all", "--to-plain"), "decrypted: cluster-one/backups/plain/plain.tar.gz\n")
	configure(t, one, map[string]any{"encryptionIdentitySecret": nil})
	requirePlain(t, s3, "plain")
	migration{T: t, VeleroServer: one, s3: s3}.use(providerAWS)
	restorePassword(t, one, "plain-by-aws", "plain")
	restorePassword(t, one, "again-by-aws", "again")
}

// restoreWithOwnKey has Velero in a second cluster find the backups of the first one
// in the bucket, and restore one with a private key that the first one does not have.
// What it writes itself, the other key opens too.
func restoreWithOwnKey(t *testing.T, bed *testbed.Bed, options testbed.VeleroOptions, key *age.X25519Identity, other *age.X25519Recipient) {
	t.Helper()
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{Name: "second"})
	require.NoError(t, err)
	_, err = cluster.Kube.CoreV1().Namespaces().Get(t.Context(), encryptedNamespace, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "it is another cluster: %v", err)
	two, err := bed.InstallVelero(t.Context(), cluster, options)
	require.NoError(t, err)
	makeIdentities(t, two, key.String())
	configure(t, two, map[string]any{
		"encryptionRecipients":     key.Recipient().String() + "," + other.String(),
		"encryptionIdentitySecret": "longshore-encryption/identities", "encryptionRequired": "true",
	})
	require.NoError(t, two.Serve(t.Context()))
	require.NoError(t, two.WaitLocation(t.Context(), testbed.DefaultLocation))
	require.NoError(t, two.Restart(t.Context())) // else it looks for backups in a minute
	require.Eventually(t, func() bool {
		known, err := story.BackupNames(t.Context(), two)
		return err == nil && slices.Contains(known, "plain")
	}, waitLimit, 200*time.Millisecond, "the second Velero does not see the backup")
	restorePassword(t, two, "elsewhere", "plain")
	veleroCLI(t, two, "backup", "create", "own", "--include-namespaces", encryptedNamespace)
	require.NoError(t, two.WaitBackup(t.Context(), "own", waitLimit))
	requireEncrypted(t, options.S3)
	veleroCLI(t, two, "backup", "delete", "own", "--confirm")
	err = testbed.Poll(t.Context(), waitLimit, "the objects of the backup to be deleted", func(ctx context.Context) (bool, string, error) {
		left, err := options.S3.Keys(ctx, encryptedBucket, "cluster-one/backups/own/")
		return len(left) == 0, fmt.Sprint(left), err
	})
	require.NoError(t, err)
	require.NoError(t, two.Stop())
	require.NoError(t, cluster.Kill())
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

func replaceIdentities(t *testing.T, server *testbed.VeleroServer, lines string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"stringData": map[string]string{"identities": lines}})
	require.NoError(t, err)
	_, err = server.Cluster.Kube.CoreV1().Secrets(server.Namespace).Patch(t.Context(), "longshore-encryption", types.MergePatchType, patch, metav1.PatchOptions{})
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

// requirePlain wants the metadata of a backup in the bucket as Velero wrote them.
func requirePlain(t *testing.T, s3 *testbed.S3, backup string) {
	t.Helper()
	client, err := s3.Client()
	require.NoError(t, err)
	body, _, _, err := client.GetObject(t.Context(), encryptedBucket, "cluster-one/backups/"+backup+"/velero-backup.json", minio.GetObjectOptions{})
	require.NoError(t, err)
	defer body.Close()
	var metadata struct{ Kind string }
	require.NoError(t, json.NewDecoder(body).Decode(&metadata))
	require.Equal(t, "Backup", metadata.Kind)
}
