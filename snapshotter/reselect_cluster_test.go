package snapshotter

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// secondNode is one more node in zone-b.
const secondNode = `
apiVersion: v1
kind: Node
metadata:
  name: node-zone-b-second
  labels: {kubernetes.io/hostname: node-zone-b-second, %[1]s: zone-b}
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: node-zone-b-second}
spec:
  drivers:
  - {name: %[2]s, nodeID: node-zone-b-second, topologyKeys: [%[1]s]}
`

// TestClusterNodeRefused: where the driver has no room for one node, the next that
// the volume's topology allows is tried, and no other.
func TestClusterNodeRefused(t *testing.T) {
	b := onCluster(t, nil)
	require.NoError(t, b.Apply(t.Context(), fmt.Sprintf(secondNode, testbed.TopologyKey, testbed.DriverName)))
	t.Cleanup(func() {
		require.NoError(t, b.Kube.StorageV1().CSINodes().Delete(b.background(), "node-zone-b-second", metav1.DeleteOptions{}))
		require.NoError(t, b.Kube.CoreV1().Nodes().Delete(b.background(), "node-zone-b-second", metav1.DeleteOptions{}))
	})
	pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: testbed.ClassWaitForFirstConsumer, Node: testbed.NodeName("zone-b")}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)

	full := testbed.DriverRule{Method: "CreateVolume", Code: "ResourceExhausted", Message: "the node is full"}
	for name, times := range map[string]int{"the next is taken": 1, "all are full": 0} {
		t.Run(name, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.open(nil), namespace: b.namespace}
			full.Times = times
			b.rule(full)
			began := time.Now()
			volume, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
			t.Logf("after %s: %v", time.Since(began), err)
			asked := b.volumesAsked(began)
			if times > 0 {
				require.NoError(t, err)
				require.Equal(t, []string{"ResourceExhausted", "OK"}, asked)
				restored, content := b.adopt(b.Snapshotter, volume, pv, "restored")
				require.Equal(t, "first", content)
				require.Equal(t, pv.Spec.NodeAffinity, restored.Spec.NodeAffinity)
				return
			}
			require.ErrorContains(t, err, "there is no other node to try")
			require.ErrorContains(t, err, "the node is full")
			require.Less(t, time.Since(began), time.Minute)
			require.Equal(t, []string{"ResourceExhausted", "ResourceExhausted"}, asked)
			b.normalDriver()
			b.provisionerLooks()
			b.onlySnapshots(before, 0)
		})
	}
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// volumesAsked lists how the driver answered each time it was asked for a volume.
func (b *bench) volumesAsked(since time.Time) []string {
	b.Helper()
	calls, err := b.DriverCalls()
	require.NoError(b, err)
	var codes []string
	for _, call := range calls {
		if call.Method == "CreateVolume" && call.Time.After(since) {
			codes = append(codes, call.Code)
		}
	}
	return codes
}
