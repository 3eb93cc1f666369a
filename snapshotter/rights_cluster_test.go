package snapshotter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterLeastRights makes every call with the rights of docs/rbac.yaml only.
func TestClusterLeastRights(t *testing.T) {
	b := onCluster(t, nil)
	manifest, err := os.ReadFile(filepath.Join("..", "docs", "rbac.yaml"))
	require.NoError(t, err)
	require.NoError(t, b.Apply(t.Context(), string(manifest)))
	config := rest.CopyConfig(b.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:velero:velero"}
	limited := newSnapshotter(b.settings, clientFor(t, config), b.log, "velero", nil)
	b.Snapshotter = limited

	pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: testbed.ClassWaitForFirstConsumer}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	_, content := b.restoreAs(limited, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	_, err = limited.Sweep(t.Context())
	require.NoError(t, err)
}

// TestClusterAnother restores in a second cluster that reaches the same storage,
// by the ID alone.
func TestClusterAnother(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")

	other, err := shared.bed.StartCluster(t.Context(), testbed.ClusterOptions{Name: "other", Storage: b.Storage, Zones: []string{"zone-a", "zone-b", "zone-c"}})
	require.NoError(t, err)
	o := &bench{T: t, Cluster: other, namespace: b.namespace}
	require.NoError(t, other.CreateNamespace(t.Context(), "velero"))
	require.NoError(t, other.CreateNamespace(t.Context(), o.namespace))
	o.Snapshotter = o.open(nil)
	_, content := o.restoreAs(o.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	require.NoError(t, o.DeleteSnapshot(t.Context(), snapshot))
	require.NoError(t, o.DeleteNamespace(t.Context(), o.namespace))
	b.Snapshotter = b.open(nil)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot), "deleted from the other cluster")
}
