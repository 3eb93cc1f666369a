package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
)

func TestTwoProcessesShareAStorage(t *testing.T) {
	data := t.TempDir()
	drivers := []*process{startDriver(t, data), startDriver(t, data)}
	const volumes = 10
	ids := make([][volumes]string, len(drivers))
	inParallel(t, drivers, volumes, func(d, i int) error {
		vol, err := drivers[d].createVolume(fmt.Sprintf("pvc-%d", i))
		ids[d][i] = vol.GetVolumeId()
		return err
	})
	require.Equal(t, ids[0], ids[1], "both made one and the same volume by name")
	require.Len(t, drivers[0].books().Volumes, volumes)

	for i, id := range ids[0] {
		write(t, filepath.Join(drivers[0].volumeDir(id), "file"), fmt.Sprint("content ", i))
	}
	snapshots := make([]string, volumes)
	inParallel(t, drivers[:1], volumes, func(d, i int) error {
		snap, err := drivers[d].createSnapshot(fmt.Sprintf("snap-%d", i), ids[d][i])
		snapshots[i] = snap.GetSnapshotId()
		return err
	})
	inParallel(t, drivers, volumes, func(d, i int) error {
		vol, err := drivers[d].createVolume(fmt.Sprintf("restored-%d-%d", d, i), fromSnapshot(snapshots[i]))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(drivers[d].volumeDir(vol.VolumeId), "file"))
		if want := fmt.Sprint("content ", i); err == nil && string(text) != want {
			err = fmt.Errorf("restored %q, want %q", text, want)
		}
		return err
	})
	inParallel(t, drivers, volumes, func(d, i int) error {
		_, err := drivers[d].DeleteSnapshot(deadline(t), &csi.DeleteSnapshotRequest{SnapshotId: snapshots[i]})
		return err
	})
	books := drivers[1].books()
	require.Len(t, books.Volumes, 3*volumes)
	require.Empty(t, books.Snapshots)
	require.Empty(t, books.Leftovers)
	require.Equal(t, 4*volumes, books.Calls["CreateVolume"], "no line of the call log is lost")
}

// inParallel does all the work of every driver at once.
func inParallel(t *testing.T, drivers []*process, count int, work func(d, i int) error) {
	t.Helper()
	errs := make(chan error, len(drivers)*count)
	var group sync.WaitGroup
	for d := range drivers {
		for i := range count {
			group.Go(func() { errs <- work(d, i) })
		}
	}
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

func TestDeathInTheMiddleOfACopy(t *testing.T) {
	data := t.TempDir()
	driver := startDriver(t, data)
	vol := driver.mustCreateVolume("source")
	for i := range 1500 {
		write(t, filepath.Join(driver.volumeDir(vol.VolumeId), fmt.Sprint(i)), fmt.Sprint("content ", i))
	}
	var left []string
	for i := 0; i < 20 && len(left) == 0; i++ { // again when the copy was quicker than the kill
		killWhileCopying(t, driver, fmt.Sprint("snap-", i), vol.VolumeId)
		left = driver.books().Leftovers
		driver = startDriver(t, data)
	}
	require.Len(t, left, 1)
	require.Contains(t, driver.stderr.String(), left[0])
	require.Empty(t, driver.books().Leftovers)
	for _, snap := range driver.books().Snapshots {
		require.NotEqual(t, left[0], snap.ID, "half a snapshot is none")
	}
	snap := driver.mustCreateSnapshot("snap", vol.VolumeId)
	restored := driver.mustCreateVolume("restored", fromSnapshot(snap.SnapshotId))
	require.Equal(t, describeTree(t, driver.volumeDir(vol.VolumeId)), describeTree(t, driver.volumeDir(restored.VolumeId)))
}

func killWhileCopying(t *testing.T, driver *process, name, volumeID string) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		driver.CreateSnapshot(deadline(t), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: volumeID})
	}()
	copying := filepath.Join(driver.data, "tmp", "snap-*", "data", "*1*")
	require.Eventually(t, func() bool {
		half, err := filepath.Glob(copying)
		require.NoError(t, err)
		return len(half) > 0 || isClosed(ended)
	}, testTimeout, time.Millisecond)
	driver.kill()
	<-ended
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func TestStartingDriverSparesALivingWriter(t *testing.T) {
	store, err := openStore(t.TempDir())
	require.NoError(t, err)
	release, err := store.lock.acquire(t.Context())
	require.NoError(t, err)
	half := filepath.Join(store.root, "tmp", "half")
	write(t, half, "half")
	other := storeAt(store.root)
	cleaned := make(chan error, 1)
	go func() {
		_, err := other.clean(deadline(t))
		cleaned <- err
	}()
	select {
	case err := <-cleaned:
		t.Fatal("did not wait for the lock", err)
	case <-time.After(50 * time.Millisecond):
	}
	require.FileExists(t, half)
	release()
	require.NoError(t, <-cleaned)
	require.NoFileExists(t, half)
}
