package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	encryptedBucket    = "encrypted"
	encryptedNamespace = "sealed"
)

// TestEncryption backs up into an encrypted location, takes the private key away,
// so that the backup cannot be restored, gives it back beside a new one, restores and
// deletes.
func TestEncryption(t *testing.T) {
	t.Parallel()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{encryptedBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	old, now := newIdentity(t), newIdentity(t)
	server, err := bed.InstallVelero(t.Context(), cluster, testbed.VeleroOptions{
		S3: s3, Bucket: encryptedBucket, Prefix: "cluster-one",
		BackupConfig: map[string]string{
			"encryptionRecipients": old.Recipient().String(), "encryptionIdentitySecret": "longshore-encryption/identities", "encryptionRequired": "true",
		},
		ServerArgs: []string{"--store-validation-frequency=1h"}, // not while the key is away
	})
	require.NoError(t, err)
	secrets := cluster.Kube.CoreV1().Secrets(server.Namespace)
	identities := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "longshore-encryption"}, StringData: map[string]string{"identities": old.String()}}
	_, err = secrets.Create(t.Context(), identities, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, server.Serve(t.Context()))
	require.NoError(t, server.WaitLocation(t.Context(), testbed.DefaultLocation))

	require.NoError(t, cluster.CreateNamespace(t.Context(), encryptedNamespace))
	makePassword(t, cluster)
	veleroCLI(t, server, "backup", "create", "first", "--include-namespaces", encryptedNamespace)
	require.NoError(t, server.WaitBackup(t.Context(), "first", waitLimit))
	requireEncrypted(t, s3)

	identities.StringData["identities"] = now.String()
	_, err = secrets.Update(t.Context(), identities, metav1.UpdateOptions{})
	require.NoError(t, err)
	veleroCLI(t, server, "restore", "create", "refused", "--from-backup", "first")
	_, err = server.WaitPhase(t.Context(), "restores", "refused", waitLimit, "Failed", "FailedValidation")
	require.NoError(t, err)
	status, err := server.Status(t.Context(), "restores", "refused")
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(status), "has the private key of none of them")

	identities.StringData["identities"] += "\n" + old.String()
	_, err = secrets.Update(t.Context(), identities, metav1.UpdateOptions{})
	require.NoError(t, err)
	restorePassword(t, server, "first", "first")
	requireEncrypted(t, s3)

	veleroCLI(t, server, "backup", "delete", "first", "--confirm")
	err = testbed.Poll(t.Context(), waitLimit, "the objects of the backup to be deleted", func(ctx context.Context) (bool, string, error) {
		left, err := s3.Keys(ctx, encryptedBucket, "cluster-one/backups/")
		return len(left) == 0, fmt.Sprint(left), err
	})
	require.NoError(t, err)
	log, err := os.ReadFile(server.Log())
	require.NoError(t, err)
	for _, secret := range []string{old.String(), now.String()} {
		require.NotContains(t, string(log), secret)
	}
}

func newIdentity(t *testing.T) *age.X25519Identity {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return identity
}

// requireEncrypted wants every object in the bucket to be a file of age.
func requireEncrypted(t *testing.T, s3 *testbed.S3) {
	t.Helper()
	client, err := s3.Client()
	require.NoError(t, err)
	keys, err := s3.Keys(t.Context(), encryptedBucket, "")
	require.NoError(t, err)
	require.Greater(t, len(keys), 5)
	for _, key := range keys {
		body, _, _, err := client.GetObject(t.Context(), encryptedBucket, key, minio.GetObjectOptions{})
		require.NoError(t, err)
		start := make([]byte, 22)
		_, err = io.ReadFull(body, start)
		require.NoError(t, body.Close())
		require.Equal(t, "age-encryption.org/v1\n", string(start), "%s: %v", key, err)
	}
}
