package testbed

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVeleroBacksUpAndRestores(t *testing.T) {
	realParts(t)
	bed := ForTest(t)
	s3, err := bed.StartS3(t.Context(), S3Options{TLS: true})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), ClusterOptions{})
	require.NoError(t, err)
	begin := time.Now()
	velero, err := bed.StartVelero(t.Context(), cluster, VeleroOptions{S3: s3, Bucket: "backups", Prefix: "one"})
	require.NoError(t, err)
	t.Logf("Velero was up after %s", time.Since(begin).Round(time.Millisecond))

	require.NoError(t, cluster.CreateNamespace(t.Context(), "app"))
	_, err = cluster.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "data"})
	require.NoError(t, err)
	dir, err := cluster.ClaimDir(t.Context(), "app", "data")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("precious"), 0o600))

	_, err = velero.CLI(t.Context(), "backup", "create", "first", "--include-namespaces", "app")
	require.NoError(t, err)
	require.NoError(t, velero.WaitBackup(t.Context(), "first", time.Minute))
	keys, err := s3.Keys(t.Context(), "backups", "one/backups/first/")
	require.NoError(t, err)
	require.Contains(t, keys, "one/backups/first/first.tar.gz")

	require.NoError(t, cluster.DeleteNamespace(t.Context(), "app"))
	_, err = velero.CLI(t.Context(), "restore", "create", "back", "--from-backup", "first")
	require.NoError(t, err)
	require.NoError(t, velero.WaitRestore(t.Context(), "back", time.Minute))
	_, err = cluster.WaitBound(t.Context(), "app", "data")
	require.NoError(t, err)
	dir, err = cluster.ClaimDir(t.Context(), "app", "data")
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
}

func TestVeleroTellsReasonsAndRunsTwice(t *testing.T) {
	realParts(t)
	bed := ForTest(t)
	s3, err := bed.StartS3(t.Context(), S3Options{})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), ClusterOptions{})
	require.NoError(t, err)
	velero, err := bed.InstallVelero(t.Context(), cluster, VeleroOptions{S3: s3, Bucket: "missing-bucket", NoBucket: true})
	require.NoError(t, err)
	_, err = velero.WaitPhase(t.Context(), "backupstoragelocations", DefaultLocation, time.Second, "Available")
	require.ErrorContains(t, err, "the Velero server was not started")

	require.NoError(t, velero.Serve(t.Context()))
	_, err = velero.WaitPhase(t.Context(), "backupstoragelocations", DefaultLocation, time.Minute, "Unavailable")
	require.NoError(t, err)
	status, err := velero.Status(t.Context(), "backupstoragelocations", DefaultLocation)
	require.NoError(t, err)
	require.Contains(t, status["message"], "missing-bucket")

	second, err := bed.StartVelero(t.Context(), cluster, VeleroOptions{Namespace: "other", S3: s3, Bucket: "backups"})
	require.NoError(t, err)
	require.NotEqual(t, velero.PID(), second.PID())
	require.NotZero(t, velero.PID(), "two servers run side by side")

	out, err := velero.CLI(t.Context(), "backup", "create", "--no-such-flag")
	require.ErrorContains(t, err, "unknown flag: --no-such-flag")
	require.Contains(t, out, "unknown flag")
}
