package testbed

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestClusterBindsSnapshotsAndRestores(t *testing.T) {
	realParts(t)
	bed := ForTest(t)
	begin := time.Now()
	cluster, err := bed.StartCluster(t.Context(), ClusterOptions{Zones: []string{"zone-a", "zone-b"}})
	require.NoError(t, err)
	t.Logf("the cluster was up after %s", time.Since(begin).Round(time.Millisecond))
	require.NoError(t, cluster.CreateNamespace(t.Context(), "app"))

	t.Run("immediate", func(t *testing.T) { snapshotAndRestore(t, cluster, ClassImmediate, "") })
	t.Run("wait for first consumer", func(t *testing.T) {
		snapshotAndRestore(t, cluster, ClassWaitForFirstConsumer, NodeName("zone-b"))
	})
	t.Run("faults", func(t *testing.T) { driverFails(t, cluster) })
	t.Run("restart", func(t *testing.T) { restartParts(t, cluster) })
	t.Run("second cluster", func(t *testing.T) { secondCluster(t, bed, cluster) })
	t.Run("nothing left", func(t *testing.T) { nothingLeft(t, cluster) })
}

// snapshotAndRestore goes the way of data through the plain controllers.
func snapshotAndRestore(t *testing.T, c *Cluster, class, node string) {
	source := class + "-source"
	_, err := c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: source, Class: class, Node: node})
	require.NoError(t, err)
	dir, err := c.ClaimDir(t.Context(), "app", source)
	require.NoError(t, err)
	data := make([]byte, 100_000)
	_, err = rand.Read(data)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), data, 0o600))

	takeSnapshot(t, c, source)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("changed later"), 0o600))

	restored := class + "-restored"
	_, err = c.CreateClaim(t.Context(), ClaimOptions{
		Namespace: "app", Name: restored, Class: class, Node: node, Snapshot: source,
	})
	require.NoError(t, err)
	dir, err = c.ClaimDir(t.Context(), "app", restored)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	require.Equal(t, data, got)
}

// takeSnapshot makes a snapshot, named like its claim, and waits until it can be used.
func takeSnapshot(t *testing.T, c *Cluster, claim string) {
	t.Helper()
	class := SnapshotClass
	_, err := c.Snapshots.VolumeSnapshots("app").Create(t.Context(), &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: claim},
		Spec: snapshotv1.VolumeSnapshotSpec{
			Source:                  snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: &claim},
			VolumeSnapshotClassName: &class,
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	err = Poll(t.Context(), 30*time.Second, "snapshot "+claim, func(ctx context.Context) (bool, string, error) {
		s, err := c.Snapshots.VolumeSnapshots("app").Get(ctx, claim, metav1.GetOptions{})
		if err != nil || s.Status == nil {
			return false, "no status", err
		}
		return s.Status.ReadyToUse != nil && *s.Status.ReadyToUse, "not ready", nil
	})
	require.NoError(t, err)
}

func driverFails(t *testing.T, c *Cluster) {
	require.NoError(t, c.ControlDriver(DriverControl{Rules: []DriverRule{
		{Method: "CreateVolume", Code: "Unavailable", Message: "the array reboots", Times: 1},
	}}))
	_, err := c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "second-try"})
	require.NoError(t, err)
	require.NoError(t, c.ControlDriver(DriverControl{}))
	calls, err := c.DriverCalls()
	require.NoError(t, err)
	require.Condition(t, func() bool {
		for _, call := range calls {
			if call.Method == "CreateVolume" && call.Code == "Unavailable" && call.Message == "the array reboots" {
				return true
			}
		}
		return false
	}, "the failure is not in the driver's books: %v", calls)
}

func restartParts(t *testing.T, c *Cluster) {
	for _, part := range []Part{KubeAPIServer, SnapshotController, CSISnapshotter, CSIProvisioner, CSIDriver} {
		begin := time.Now()
		require.NoError(t, c.Process(part.Name).Kill(), part.Name)
		require.NoError(t, c.Process(part.Name).Restart(t.Context()), part.Name)
		t.Logf("%s was back after %s", part.Name, time.Since(begin).Round(time.Millisecond))
	}
	_, err := c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "after-restart"})
	require.NoError(t, err)
}

// secondCluster starts beside the first one and sees its storage, not its objects.
func secondCluster(t *testing.T, bed *Bed, first *Cluster) {
	second, err := bed.StartCluster(t.Context(), ClusterOptions{Name: "second", Storage: first.Storage})
	require.NoError(t, err)
	ours, err := first.Leftovers(t.Context())
	require.NoError(t, err)
	theirs, err := second.Leftovers(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, theirs.StorageSnapshots)
	require.Equal(t, ours.StorageSnapshots, theirs.StorageSnapshots)
	require.Empty(t, theirs.Claims)
	require.Empty(t, theirs.VolumeSnapshotContents)
	require.NoError(t, second.Kill())
}

// nothingLeft deletes the application and finds the books empty.
func nothingLeft(t *testing.T, c *Cluster) {
	require.NoError(t, c.DeleteNamespace(t.Context(), "app"))
	var left Leftovers
	err := Poll(t.Context(), 30*time.Second, "storage to be empty", func(ctx context.Context) (done bool, last string, err error) {
		left, err = c.Leftovers(ctx)
		return len(left.StorageVolumes)+len(left.StorageSnapshots)+len(left.PersistentVolumes) == 0, "not empty", err
	})
	require.NoError(t, err, "%+v", left)
	require.Equal(t, Leftovers{}, left)
}
