package snapshotter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// TestClusterDistributedDriver: of a driver with a storage and sidecars on each
// node, those of the volume's node do all the work; no other could.
func TestClusterDistributedDriver(t *testing.T) {
	onCluster(t, nil) // starts the bed
	cluster, err := shared.bed.StartCluster(t.Context(), testbed.ClusterOptions{
		Name: "nodes", Zones: []string{"zone-a", "zone-b"}, Distributed: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Kill()) })
	b := benchOn(t, cluster, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	for _, zone := range cluster.Zones {
		node := testbed.NodeName(zone)
		pv := b.claimed(testbed.ClaimOptions{Name: "on-" + node, Class: testbed.ClassWaitForFirstConsumer, Node: node}, "of "+node)
		for _, class := range []string{testbed.ClassWaitForFirstConsumer, testbed.ClassImmediate} {
			t.Run(class+" on "+node, func(t *testing.T) {
				b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.open(nil), namespace: b.namespace}
				began := time.Now()
				snapshot := b.snapshotOf(pv, "b1")
				id, err := ids.ParseSnapshotID(snapshot)
				require.NoError(t, err)
				require.Equal(t, node, id.ManagedBy)
				b.onlySnapshots(before, 1)

				as := pv.DeepCopy()
				as.Spec.StorageClassName = class
				restored, content := b.restoreAs(b.Snapshotter, snapshot, as, "restored-"+class+"-"+node)
				require.Equal(t, "of "+node, content)
				require.Equal(t, pv.Spec.NodeAffinity, restored.Spec.NodeAffinity)
				require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
				b.soonOnlySnapshots(before, 0)
				b.onlyOn(node, began)
			})
		}
	}
}

// onlyOn demands that nobody but the driver on one node has been asked to do
// anything to snapshots and volumes.
func (b *bench) onlyOn(node string, since time.Time) {
	b.Helper()
	calls, err := b.DriverCalls()
	require.NoError(b, err)
	did := map[string]int{}
	for _, call := range calls {
		switch call.Method {
		case "CreateSnapshot", "DeleteSnapshot", "ListSnapshots", "CreateVolume":
			if call.Time.After(since) {
				require.Equal(b, node, call.Node, "%+v", call)
				did[call.Method]++
			}
		}
	}
	for _, method := range []string{"CreateSnapshot", "DeleteSnapshot", "CreateVolume"} {
		require.NotZero(b, did[method], method)
	}
}
