package snapshotter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterSameCallTwice: two processes that are asked for the same thing at the
// same time do it once, and a deletion lets a restore of the same snapshot end.
func TestClusterSameCallTwice(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	b.backup("twice")
	both := []*Snapshotter{b.Snapshotter, b.open(nil)}

	volumeID, tags := b.volumeID(pv), map[string]string{tagBackup: "twice"}
	ids, errs := make([]string, 2), make([]error, 2)
	b.rule(testbed.DriverRule{Method: "CreateSnapshot", Delay: "1s"})
	inParallel(2, func(i int) { ids[i], errs[i] = both[i].CreateSnapshot(t.Context(), volumeID, "", tags) })
	require.Equal(t, []error{nil, nil}, errs)
	require.Equal(t, ids[0], ids[1])
	b.onlySnapshots(before, 1)

	b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "2s"})
	var volume string
	b.meanwhile(purposeRestore, func() error { return both[1].DeleteSnapshot(b.background(), ids[0]) }, func() {
		volume, err = b.CreateVolumeFromSnapshot(t.Context(), ids[0], pv.Spec.StorageClassName, "", nil)
	})
	require.NoError(t, err)
	_, content := b.adopt(b.Snapshotter, volume, pv, "restored")
	require.Equal(t, "first", content)
	b.onlySnapshots(before, 0)

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
			_, err := s.csiNodes(t.Context())
			require.NoError(t, err)
		}
		return time.Since(began)
	}
	require.Less(t, ask(nil), time.Second)
	limited := ask(map[string]string{"kubeQPS": "4", "kubeBurst": "3"})
	require.Greater(t, limited, 900*time.Millisecond, "four of the seven wait a quarter of a second each")
	require.Less(t, limited, 3*time.Second)
}
