package snapshotter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// TestClusterSameCallTwice: two processes that are asked for the same deletion at
// the same time do it once, and a deletion lets a restore of the same snapshot end.
func TestClusterSameCallTwice(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	both := []*Snapshotter{b.Snapshotter, b.open(nil)}

	errs := make([]error, 2)
	snapshot := b.snapshotOf(pv, "twice")

	b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "2s"})
	var volume string
	b.meanwhile(objects.Restore, func() error { return both[1].DeleteSnapshot(b.background(), snapshot) }, func() {
		volume, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	})
	require.NoError(t, err)
	_, content := b.adopt(b.Snapshotter, volume, pv, "restored")
	require.Equal(t, "first", content)
	b.soonOnlySnapshots(before, 0)

	again := b.snapshotOf(pv, "twice")
	b.rule(testbed.DriverRule{Method: "DeleteSnapshot", Delay: "1s"})
	inParallel(2, func(i int) { errs[i] = both[i].DeleteSnapshot(t.Context(), again) })
	require.Equal(t, []error{nil, nil}, errs)
	b.onlySnapshots(before, 0)
}

// TestClusterRateLimit: kubeQPS and kubeBurst are what they say.
func TestClusterRateLimit(t *testing.T) {
	b := onCluster(t, nil)
	ask := func(config map[string]string) time.Duration {
		s := b.open(config)
		began := time.Now()
		for range 7 {
			_, err := s.kube.CSINodes.List(t.Context(), "")
			require.NoError(t, err)
		}
		return time.Since(began)
	}
	require.Less(t, ask(nil), time.Second)
	limited := ask(map[string]string{"kubeQPS": "4", "kubeBurst": "3"})
	require.Greater(t, limited, 900*time.Millisecond, "four of the seven wait a quarter of a second each")
	require.Less(t, limited, 3*time.Second)
}
