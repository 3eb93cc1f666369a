package main

import (
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func TestSnapshotKeepsItsMoment(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("source")
	file := filepath.Join(driver.volumeDir(vol.VolumeId), "file")
	write(t, file, "then")
	snap := driver.mustCreateSnapshot("snap", vol.VolumeId)
	require.True(t, snap.ReadyToUse)
	write(t, file, "now")
	again := driver.mustCreateSnapshot("snap", vol.VolumeId)
	require.Equal(t, snap.SnapshotId, again.SnapshotId)
	require.Equal(t, snap.CreationTime.AsTime(), again.CreationTime.AsTime())
	_, err := driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: vol.VolumeId})
	require.NoError(t, err)

	first := driver.mustCreateVolume("first", fromSnapshot(snap.SnapshotId))
	write(t, filepath.Join(driver.volumeDir(first.VolumeId), "file"), "changed in the restore")
	second := driver.mustCreateVolume("second", fromSnapshot(snap.SnapshotId))
	require.Equal(t, "then", read(t, filepath.Join(driver.volumeDir(second.VolumeId), "file")))

	for range 2 {
		_, err = driver.DeleteSnapshot(deadline(t), &csi.DeleteSnapshotRequest{SnapshotId: snap.SnapshotId})
		require.NoError(t, err)
	}
	_, err = driver.createVolume("third", fromSnapshot(snap.SnapshotId))
	requireCode(t, codes.NotFound, err, snap.SnapshotId)
	require.Equal(t, "then", read(t, filepath.Join(driver.volumeDir(second.VolumeId), "file")))
	require.Empty(t, driver.books().Snapshots)
}

func TestSnapshotOfNothing(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	_, err := driver.createSnapshot("snap", "vol-0000000000000000")
	requireCode(t, codes.NotFound, err, "vol-0000000000000000")
}

func TestSnapshotNameOfAnother(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("source")
	driver.mustCreateSnapshot("snap", vol.VolumeId)
	_, err := driver.createSnapshot("snap", driver.mustCreateVolume("other").VolumeId)
	requireCode(t, codes.AlreadyExists, err, vol.VolumeId)
	_, err = driver.CreateSnapshot(deadline(t), &csi.CreateSnapshotRequest{
		Name: "snap", SourceVolumeId: vol.VolumeId, Parameters: map[string]string{"a": "b"},
	})
	requireCode(t, codes.AlreadyExists, err, "parameters")
}

func TestListSnapshotsFiltersAndPages(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	one, two := driver.mustCreateVolume("one"), driver.mustCreateVolume("two")
	var ofOne []string
	for _, name := range []string{"a", "b", "c"} {
		ofOne = append(ofOne, driver.mustCreateSnapshot(name, one.VolumeId).SnapshotId)
	}
	ofTwo := driver.mustCreateSnapshot("d", two.VolumeId).SnapshotId
	list := func(req *csi.ListSnapshotsRequest) (ids []string) {
		for {
			page, err := driver.ListSnapshots(deadline(t), req)
			require.NoError(t, err)
			for _, entry := range page.Entries {
				ids = append(ids, entry.Snapshot.SnapshotId)
			}
			if req.StartingToken = page.NextToken; page.NextToken == "" {
				return ids
			}
		}
	}
	require.ElementsMatch(t, append(ofOne, ofTwo), list(&csi.ListSnapshotsRequest{MaxEntries: 3}))
	require.ElementsMatch(t, ofOne, list(&csi.ListSnapshotsRequest{MaxEntries: 1, SourceVolumeId: one.VolumeId}))
	require.Equal(t, []string{ofTwo}, list(&csi.ListSnapshotsRequest{SnapshotId: ofTwo}))
	require.Empty(t, list(&csi.ListSnapshotsRequest{SnapshotId: ofTwo, SourceVolumeId: one.VolumeId}))
	require.Empty(t, list(&csi.ListSnapshotsRequest{SnapshotId: "../" + ofTwo}))
	_, err := driver.ListSnapshots(deadline(t), &csi.ListSnapshotsRequest{StartingToken: "next"})
	requireCode(t, codes.Aborted, err)
}
