package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/story"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// byHand runs the plugin's binary as a person does, and wants it to succeed.
func byHand(t *testing.T, cluster *testbed.Cluster, args ...string) string {
	t.Helper()
	plugin, err := testbed.Plugin.Path(t.Context())
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), plugin, append(args, "--kubeconfig", cluster.Kubeconfig)...)
	command.Env = []string{"HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true", "TMPDIR=" + os.TempDir()}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoError(t, err, "%v: %s%s", args, out, stderr.String())
	return string(out)
}

// readBackup reads the backup without Velero and without signed URLs. It gets what
// Velero's own command line got.
func readBackup(t *testing.T, told *story.Story, logs, archive string) {
	require.Equal(t, logs, byHand(t, told.Cluster, "logs", story.Backup))

	file := filepath.Join(t.TempDir(), "ours.tar.gz")
	byHand(t, told.Cluster, "download", story.Backup, "--to", file)
	theirs, err := os.ReadFile(archive)
	require.NoError(t, err)
	ours, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, theirs, ours)

	var d backups.Description
	require.NoError(t, json.Unmarshal([]byte(byHand(t, told.Cluster, "describe", story.Backup, "-o", "json")), &d))
	require.Equal(t, backups.PhaseCompleted, d.Phase)
	require.Equal(t, []string{story.Namespace}, d.Namespaces)
	require.Len(t, d.Volumes, 3)
	for _, v := range d.Volumes {
		require.Equal(t, testbed.DriverName, v.Driver)
		require.Positive(t, v.Size)
	}
	verifyBackup(t, told.Cluster)
}

// verifyBackup wants every step to pass: what Velero writes is what verify knows.
func verifyBackup(t *testing.T, cluster *testbed.Cluster) {
	t.Helper()
	var told struct {
		OK      bool
		Backups []check.Report
	}
	require.NoError(t, json.Unmarshal([]byte(byHand(t, cluster, "verify", story.Backup, "--restore-volumes", "-o", "json")), &told))
	require.True(t, told.OK)
	require.Len(t, told.Backups, 1)
	require.GreaterOrEqual(t, len(told.Backups[0].Steps), 15)
	require.Equal(t, "restored volumes", told.Backups[0].Steps[len(told.Backups[0].Steps)-1].Step)
	for _, step := range told.Backups[0].Steps {
		require.Equal(t, check.OK, step.Outcome, "%+v", step)
	}
}
