package snapshotter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// writeOn numbers its writes across all volumes, one after another, until ctx ends: no
// volume is ever ahead of another by more than one write. Each write takes the storage's
// lock, as it takes a real storage's way.
func (b *bench) writeOn(ctx context.Context, pvs []*corev1.PersistentVolume) error {
	lock, err := os.OpenFile(filepath.Join(b.Storage, "lock"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer lock.Close()
	for n := 1; ctx.Err() == nil; n++ {
		for _, pv := range pvs {
			if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
				return err
			}
			err := os.WriteFile(filepath.Join(b.volumeDir(pv.Spec.CSI.VolumeHandle), "data", "number"), []byte(strconv.Itoa(n)), 0o600)
			if unlockErr := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err == nil {
				err = unlockErr
			}
			if err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// TestClusterGroupConsistent: after a restore of a group that was taken as one no volume is
// ahead of another by a write that came later. The other ways are measured beside it.
func TestClusterGroupConsistent(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	pvs := b.grouped(veleroGroup, "one", "two", "three", "four")
	for way, groups := range map[string]string{"side by side": GroupsAuto, "one by one": GroupsOff} {
		snapshots, took := b.snapshotWritten(pvs, groups)
		var numbers []int
		for _, snapshot := range snapshots {
			id, err := ids.ParseSnapshotID(snapshot)
			require.NoError(t, err)
			numbers = append(numbers, numberIn(t, filepath.Join(b.Storage, "snapshots", id.Handle)))
		}
		t.Logf("%s: the volumes have writes %v; all snapshots took %s", way, numbers, took)
		b.requireDeleted(snapshots...)
	}

	b.takesGroups()
	snapshots, took := b.snapshotWritten(pvs, GroupsRequire)
	var numbers []int
	for i, snapshot := range snapshots {
		restored, _ := b.restoreAs(b.Snapshotter, snapshot, pvs[i], fmt.Sprint("restored-", i))
		numbers = append(numbers, numberIn(t, b.volumeDir(restored.Spec.CSI.VolumeHandle)))
	}
	t.Logf("as one: the volumes have writes %v; all snapshots took %s", numbers, took)
	require.LessOrEqual(t, numbers[0]-numbers[3], 1)
	require.True(t, slices.IsSortedFunc(numbers, func(a, b int) int { return b - a }), "%v", numbers)
	b.requireDeleted(snapshots...)
}

// snapshotWritten takes the snapshots of volumes that are written to, for a new backup.
func (b *bench) snapshotWritten(pvs []*corev1.PersistentVolume, groups string) (snapshots []string, took time.Duration) {
	b.Helper()
	b.Snapshotter = b.open(map[string]string{"groups": groups})
	ctx, end := context.WithCancel(b.Context())
	wrote := make(chan error, 1)
	go func() { wrote <- b.writeOn(ctx, pvs) }()
	time.Sleep(200 * time.Millisecond)
	backup := b.backsUp(veleroGroup)
	began := time.Now()
	for _, pv := range pvs {
		snapshots = append(snapshots, b.snapshotOf(pv, backup))
	}
	took = time.Since(began)
	end()
	require.NoError(b, <-wrote)
	return snapshots, took
}

// numberIn is the last write in a volume or a snapshot.
func numberIn(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "data", "number"))
	require.NoError(t, err)
	n, err := strconv.Atoi(string(text))
	require.NoError(t, err)
	return n
}
