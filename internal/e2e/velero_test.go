package e2e

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/story"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// waitLimit bounds each wait for Velero.
const waitLimit = 3 * time.Minute

// TestMainJob takes the steps of the demo, and between them looks at all that a
// user of Velero would look at. The cluster is as clusters are: full of what belongs
// to others, who have all of it in the end as they had it.
func TestMainJob(t *testing.T) {
	t.Parallel()
	told := &story.Story{Bed: testbed.ForTest(t), Foreign: &testbed.ForeignOptions{Label: ofAnotherVelero}}
	looks := map[string]func(*testing.T, *story.Story){
		"Back up":                            lookAtBackup,
		"Disaster: the namespace is deleted": restoreElsewhere,
		"Compare every file and object":      restoreBeside,
	}
	for _, step := range told.Steps() {
		took := time.Now()
		detail, err := step.Do(t.Context())
		require.NoError(t, err, step.Name)
		t.Logf("%s: %s (%s)", step.Name, detail, time.Since(took).Round(100*time.Millisecond))
		if look := looks[step.Name]; look != nil {
			look(t, told)
		}
		if told.Others != nil {
			require.NoError(t, told.Others.Verify(t.Context()), step.Name)
			free, err := told.Others.Available(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(free), 3, "a claim could be bound to any of the Available volumes")
		}
	}
}

// ofAnotherVelero labels an object as the plugin of another Velero does that is at
// work.
func ofAnotherVelero(object metav1.Object, purpose string) {
	object.SetLabels(map[string]string{
		"app.kubernetes.io/managed-by": "longshore", "longshore.dev/purpose": purpose,
		"longshore.dev/velero": testbed.ForeignVelero, "longshore.dev/location": "0123456789",
	})
	object.SetAnnotations(map[string]string{"longshore.dev/deadline": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
}

// lookAtBackup reads the backup's description, its logs and its contents, the
// last two through signed URLs.
func lookAtBackup(t *testing.T, told *story.Story) {
	details := veleroCLI(t, told.Velero, "backup", "describe", story.Backup, "--details")
	require.Equal(t, 3, strings.Count(details, "Snapshot ID:"), details)
	require.Equal(t, 3, strings.Count(details, "csi://"+testbed.DriverName+"/"), details)

	logs := veleroCLI(t, told.Velero, "backup", "logs", story.Backup)
	require.Contains(t, logs, "Summary for skipped PVs")
	require.NotContains(t, logs, told.S3.SecretKey)

	archive := filepath.Join(t.TempDir(), "backup.tar.gz")
	veleroCLI(t, told.Velero, "backup", "download", story.Backup, "-o", archive)
	require.Contains(t, tarNames(t, archive), "resources/persistentvolumeclaims/namespaces/shop/database.json")
	readBackup(t, told, logs, archive)
}

func tarNames(t *testing.T, path string) []string {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	var names []string
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(t, err)
		names = append(names, header.Name)
	}
}

// restoreElsewhere restores the backup in a second, empty cluster that has the
// bucket and the storage in common with the first one, and nothing else. Then Velero
// ends there, and what it stored can still be read.
func restoreElsewhere(t *testing.T, told *story.Story) {
	cluster, err := told.Bed.StartCluster(t.Context(), testbed.ClusterOptions{Name: "second", Storage: told.Cluster.Storage})
	require.NoError(t, err)
	server, err := told.Bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{S3: told.S3, Bucket: story.Bucket, Prefix: story.Prefix})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		known, err := story.BackupNames(t.Context(), server)
		return err == nil && slices.Contains(known, story.Backup)
	}, waitLimit, 500*time.Millisecond, "Velero in the second cluster does not see the backup")

	restore(t, server, "elsewhere")
	requireApp(t, told, cluster, story.Namespace)
	requireNoSnapshotObjects(t, told, cluster)
	require.NoError(t, story.LoseApp(t.Context(), cluster, story.Namespace))
	waitForVolumes(t, told, 0)
	require.NoError(t, server.Stop())

	require.Contains(t, byHand(t, cluster, "logs", "restore/elsewhere"), "restore completed")
	verifyBackup(t, cluster)
}

// restoreBeside restores the backup into a second namespace while the first one
// is there, and removes it again.
func restoreBeside(t *testing.T, told *story.Story) {
	restore(t, told.Velero, "beside", "--namespace-mappings", story.Namespace+":copy")
	requireApp(t, told, told.Cluster, "copy")
	requireApp(t, told, told.Cluster, story.Namespace)
	requireNoSnapshotObjects(t, told, told.Cluster)
	require.NoError(t, story.LoseApp(t.Context(), told.Cluster, "copy"))
	waitForVolumes(t, told, 3)
}

func restore(t *testing.T, server *testbed.VeleroServer, name string, args ...string) {
	t.Helper()
	veleroCLI(t, server, append([]string{"restore", "create", name, "--from-backup", story.Backup}, args...)...)
	require.NoError(t, server.WaitRestore(t.Context(), name, waitLimit))
}

// velero runs the real command-line tool.
func veleroCLI(t *testing.T, server *testbed.VeleroServer, args ...string) string {
	t.Helper()
	out, err := server.CLI(t.Context(), args...)
	require.NoError(t, err)
	return out
}

// requireApp wants the application in a namespace as it was backed up.
func requireApp(t *testing.T, told *story.Story, cluster *testbed.Cluster, namespace string) {
	t.Helper()
	require.NoError(t, story.WaitApp(t.Context(), cluster, namespace))
	state, err := story.ReadState(t.Context(), cluster, namespace)
	require.NoError(t, err)
	require.NoError(t, story.Compare(told.Before, state))
	requireSamePolicies(t, cluster, namespace)
}

// requireSamePolicies wants each volume to be kept or deleted with its claim as its
// class says: restores make volumes with a class of their own.
func requireSamePolicies(t *testing.T, cluster *testbed.Cluster, namespace string) {
	t.Helper()
	claims, err := cluster.Kube.CoreV1().PersistentVolumeClaims(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	kept := 0
	for _, claim := range claims.Items {
		class, err := cluster.Kube.StorageV1().StorageClasses().Get(t.Context(), *claim.Spec.StorageClassName, metav1.GetOptions{})
		require.NoError(t, err)
		volume, err := cluster.Kube.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, *class.ReclaimPolicy, volume.Spec.PersistentVolumeReclaimPolicy, claim.Name)
		require.Equal(t, class.Name, volume.Spec.StorageClassName)
		if *class.ReclaimPolicy == corev1.PersistentVolumeReclaimRetain {
			kept++
		}
	}
	require.Equal(t, 1, kept)
}

// requireNoSnapshotObjects wants the backup's snapshots in the storage only.
func requireNoSnapshotObjects(t *testing.T, told *story.Story, cluster *testbed.Cluster) {
	t.Helper()
	left := leftovers(t, told, cluster)
	require.Empty(t, left.VolumeSnapshots)
	require.Empty(t, left.VolumeSnapshotContents)
	require.Len(t, left.StorageSnapshots, 3)
}

// waitForVolumes waits until the storage has this many volumes: deleted claims
// take theirs with them in their own time.
func waitForVolumes(t *testing.T, told *story.Story, want int) {
	t.Helper()
	require.Eventually(t, func() bool {
		left := leftovers(t, told, told.Cluster)
		return len(left.StorageVolumes) == want && len(left.PersistentVolumes) == want
	}, waitLimit, 200*time.Millisecond)
}

func leftovers(t *testing.T, told *story.Story, cluster *testbed.Cluster) testbed.Leftovers {
	t.Helper()
	left, err := told.Leftovers(context.WithoutCancel(t.Context()), cluster)
	require.NoError(t, err)
	return left
}
