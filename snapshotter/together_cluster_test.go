package snapshotter

import (
	"context"
	"sync"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
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

// TestClusterDeletionGivenUpMeanwhile: a call whose content another call has given up goes on
// by a content of its own, and never takes the end of that content for that of the snapshot.
func TestClusterDeletionGivenUpMeanwhile(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	id, err := b.parseSnapshotID(t.Context(), snapshot)
	require.NoError(t, err)
	wanted := b.staticContent(b.newCall(objects.Delete, time.Hour), id, snapshotv1.VolumeSnapshotContentDelete, nil, "")
	wanted.Finalizers = []string{objects.FinalizerContent}
	made, err := b.kube.VolumeSnapshotContents.Create(t.Context(), wanted)
	require.NoError(t, err)
	found, err := b.singleContent(made).waitFound(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.singleContent(made).giveUp(t.Context()))
	require.ErrorIs(t, b.singleContent(found).delete(t.Context()), errRemoved)
	b.onlySnapshots(before, 1)

	b.rule(testbed.DriverRule{Method: "ListSnapshots", Delay: "2s", Times: 1})
	var call sync.WaitGroup
	call.Go(func() { err = b.DeleteSnapshot(t.Context(), snapshot) })
	require.NoError(t, testbed.Poll(t.Context(), time.Minute, "the call's content", func(ctx context.Context) (bool, string, error) {
		all, err := b.kube.VolumeSnapshotContents.List(ctx, b.owner.Selector()+","+objects.LabelPurpose+"="+string(objects.Delete))
		if err != nil || len(all) == 0 {
			return false, "none", err
		}
		return true, "", b.singleContent(all[0]).giveUp(ctx)
	}))
	call.Wait()
	require.NoError(t, err)
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
	require.Less(t, min(ask(nil), ask(nil), ask(nil)), time.Second)
	limited := ask(map[string]string{"kubeQPS": "4", "kubeBurst": "3"})
	require.Greater(t, limited, 900*time.Millisecond, "four of the seven wait a quarter of a second each")
	require.Less(t, limited, 15*time.Second)
}
