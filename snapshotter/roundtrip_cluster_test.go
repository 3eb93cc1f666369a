package snapshotter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

func TestClusterRoundTrip(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	for name, o := range map[string]testbed.ClaimOptions{
		"immediate": {Name: "immediate"},
		"waits":     {Name: "waits", Class: testbed.ClassWaitForFirstConsumer, Node: testbed.NodeName("zone-b")},
		"block":     {Name: "block", Block: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, Snapshotter: b.open(nil), namespace: b.namespace}
			pv := b.claimed(o, "first")
			class, iops, err := b.GetVolumeInfo(t.Context(), b.volumeID(pv), "")
			require.NoError(t, err)
			require.Equal(t, pv.Spec.StorageClassName, class)
			require.Nil(t, iops)

			began := time.Now()
			snapshot := b.snapshotOf(pv, "b1")
			t.Logf("snapshot in %s: %s", time.Since(began), snapshot)
			b.onlySnapshots(before, 1)
			b.write(o.Name, "second")

			began = time.Now()
			restored, content := b.restoreAs(b.Snapshotter, snapshot, pv, o.Name+"-restored")
			t.Logf("restored and bound in %s", time.Since(began))
			require.Equal(t, "first", content[:5])
			require.Equal(t, pv.Spec.NodeAffinity, restored.Spec.NodeAffinity)
			require.NotEqual(t, pv.Spec.CSI.VolumeHandle, restored.Spec.CSI.VolumeHandle)
			require.Equal(t, pv.Spec.PersistentVolumeReclaimPolicy, restored.Spec.PersistentVolumeReclaimPolicy)
			b.soonOnlySnapshots(before, 1)

			began = time.Now()
			require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
			t.Logf("delete in %s", time.Since(began))
			b.soonOnlySnapshots(before, 0)
			began = time.Now()
			require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot), "a second deletion")
			t.Logf("second delete in %s", time.Since(began))
			b.soonOnlySnapshots(before, 0)
		})
	}
}
