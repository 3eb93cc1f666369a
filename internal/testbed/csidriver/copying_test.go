package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

// withSnapshot starts a driver that has a snapshot of a volume with a file.
func withSnapshot(t *testing.T) (*process, *csi.Snapshot) {
	t.Helper()
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("source")
	write(t, filepath.Join(driver.volumeDir(vol.VolumeId), "file"), "then")
	return driver, driver.mustCreateSnapshot("snap", vol.VolumeId)
}

func TestCopyGoesOnWithoutItsCaller(t *testing.T) {
	driver, snap := withSnapshot(t)
	driver.setControl(`{"copying": {"time": "5s"}}`)
	driver.mustCreateVolume("empty") // has nothing to copy
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	req := volumeNamed("restored")
	fromSnapshot(snap.SnapshotId)(req)
	_, err := driver.CreateVolume(ctx, req)
	requireCode(t, codes.DeadlineExceeded, err)
	require.Less(t, time.Since(begun), 5*time.Second, "the caller gave up before the end")
	require.Len(t, driver.books().Volumes, 2)

	require.Eventually(t, func() bool { return len(driver.books().Volumes) == 3 }, testTimeout, 20*time.Millisecond,
		"nobody calls, and the volume is made all the same")
	begun = time.Now()
	vol := driver.mustCreateVolume("restored", fromSnapshot(snap.SnapshotId))
	require.Less(t, time.Since(begun), 3*time.Second, "a later call finds it")
	require.Len(t, driver.books().Volumes, 3)
	require.Equal(t, "then", read(t, filepath.Join(driver.volumeDir(vol.VolumeId), "file")))
}

func TestErrorsWhileItCopies(t *testing.T) {
	driver, snap := withSnapshot(t)
	driver.setControl(`{"copying": {"time": "2s", "code": "ResourceExhausted", "message": "still copying"}}`)
	begun, refused := time.Now(), 0
	for {
		_, err := driver.createVolume("restored", fromSnapshot(snap.SnapshotId))
		if err == nil {
			break
		}
		requireCode(t, codes.ResourceExhausted, err, "still copying")
		require.Less(t, time.Since(begun), testTimeout)
		refused++
		time.Sleep(20 * time.Millisecond)
	}
	require.Greater(t, refused, 1)
	require.GreaterOrEqual(t, time.Since(begun), 2*time.Second)
	require.Len(t, driver.books().Volumes, 2)
}

func TestCopyOfASnapshotThatGoes(t *testing.T) {
	driver, snap := withSnapshot(t)
	driver.setControl(`{"copying": {"time": "3s"}}`)
	done := make(chan error, 1)
	go func() {
		_, err := driver.createVolume("restored", fromSnapshot(snap.SnapshotId))
		done <- err
	}()
	time.Sleep(50 * time.Millisecond)
	_, err := driver.DeleteSnapshot(deadline(t), &csi.DeleteSnapshotRequest{SnapshotId: snap.SnapshotId})
	require.NoError(t, err)
	requireCode(t, codes.NotFound, <-done, snap.SnapshotId)
}
