package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func requireCode(t testing.TB, want codes.Code, err error, words ...string) {
	t.Helper()
	require.Equal(t, want, status.Code(err), "%v", err)
	for _, word := range words {
		require.ErrorContains(t, err, word)
	}
}

func TestVolumeIsIdempotentByName(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	gold := func(req *csi.CreateVolumeRequest) { req.Parameters = map[string]string{"tier": "gold"} }
	first := driver.mustCreateVolume("pvc-1", gold)
	write(t, filepath.Join(driver.volumeDir(first.VolumeId), "file"), "kept")
	again := driver.mustCreateVolume("pvc-1", gold)
	require.Equal(t, first.VolumeId, again.VolumeId)
	require.Equal(t, "kept", read(t, filepath.Join(driver.volumeDir(first.VolumeId), "file")))
	other := driver.mustCreateVolume("pvc-2", gold)
	require.NotEqual(t, first.VolumeId, other.VolumeId)

	for word, change := range map[string]func(*csi.CreateVolumeRequest){
		"capacity":       withSize(2<<20, 0),
		"content source": fromVolume(other.VolumeId),
		"parameters":     func(req *csi.CreateVolumeRequest) { req.Parameters = nil },
		"volume mode":    asBlock,
		"access modes": func(req *csi.CreateVolumeRequest) {
			req.VolumeCapabilities[0].AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
		},
	} {
		_, err := driver.createVolume("pvc-1", gold, change)
		requireCode(t, codes.AlreadyExists, err, word)
	}
	require.Len(t, driver.books().Volumes, 2)
}

func TestVolumeHandleNeverComesBack(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	first := driver.mustCreateVolume("pvc-1")
	for range 2 {
		_, err := driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: first.VolumeId})
		require.NoError(t, err)
	}
	require.NoDirExists(t, filepath.Dir(driver.volumeDir(first.VolumeId)))
	require.NotEqual(t, first.VolumeId, driver.mustCreateVolume("pvc-1").VolumeId)
}

func TestDeleteStaysInTheStorage(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("pvc-1")
	for _, id := range []string{"../volumes/" + vol.VolumeId, "../../data", ".", vol.VolumeId + "/data"} {
		_, err := driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: id})
		require.NoError(t, err)
		_, err = driver.DeleteSnapshot(deadline(t), &csi.DeleteSnapshotRequest{SnapshotId: id})
		require.NoError(t, err)
	}
	require.DirExists(t, driver.volumeDir(vol.VolumeId))
}

func TestVolumeContextIsTheVolumesOwn(t *testing.T) {
	driver := startDriver(t, t.TempDir(), "--topology", "example.com/zone=a")
	gold := func(req *csi.CreateVolumeRequest) { req.Parameters = map[string]string{"tier": "gold"} }
	vol := driver.mustCreateVolume("pvc-1", gold)
	require.Equal(t, map[string]string{"volume": vol.VolumeId, "zone": "a", "parameter.tier": "gold"}, vol.VolumeContext)
	snap := driver.mustCreateSnapshot("snap-1", vol.VolumeId)
	restored := driver.mustCreateVolume("pvc-2", fromSnapshot(snap.SnapshotId))
	require.Equal(t, map[string]string{"volume": restored.VolumeId, "zone": "a", "restoredFrom": snap.SnapshotId}, restored.VolumeContext)

	publish := func(attributes map[string]string) error {
		_, err := driver.NodePublishVolume(deadline(t), &csi.NodePublishVolumeRequest{
			VolumeId: restored.VolumeId, TargetPath: filepath.Join(shortDir(t), "target"),
			VolumeCapability: mountCapability(), VolumeContext: attributes,
		})
		return err
	}
	requireCode(t, codes.InvalidArgument, publish(vol.VolumeContext), "volume_context")
	requireCode(t, codes.InvalidArgument, publish(nil), "volume_context")
	attributes := restored.VolumeContext
	attributes["storage.kubernetes.io/csiProvisionerIdentity"] = "any"
	require.NoError(t, publish(attributes))

	checked, err := driver.ValidateVolumeCapabilities(deadline(t), &csi.ValidateVolumeCapabilitiesRequest{
		VolumeId: restored.VolumeId, VolumeContext: vol.VolumeContext,
		VolumeCapabilities: []*csi.VolumeCapability{mountCapability()},
	})
	require.NoError(t, err)
	require.Nil(t, checked.Confirmed)
	require.Contains(t, checked.Message, "volume_context")
}

func TestPublishLinksToTheData(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("pvc-1")
	target := filepath.Join(shortDir(t), "target")
	for range 2 {
		_, err := driver.NodePublishVolume(deadline(t), &csi.NodePublishVolumeRequest{
			VolumeId: vol.VolumeId, TargetPath: target, VolumeCapability: mountCapability(), VolumeContext: vol.VolumeContext,
		})
		require.NoError(t, err)
	}
	write(t, filepath.Join(target, "file"), "through the link")
	require.Equal(t, "through the link", read(t, filepath.Join(driver.volumeDir(vol.VolumeId), "file")))
	for range 2 {
		_, err := driver.NodeUnpublishVolume(deadline(t), &csi.NodeUnpublishVolumeRequest{VolumeId: vol.VolumeId, TargetPath: target})
		require.NoError(t, err)
	}
	require.NoFileExists(t, target)
	require.FileExists(t, filepath.Join(driver.volumeDir(vol.VolumeId), "file"))

	require.NoError(t, os.Symlink("/", target))
	_, err := driver.NodeUnpublishVolume(deadline(t), &csi.NodeUnpublishVolumeRequest{VolumeId: vol.VolumeId, TargetPath: target})
	requireCode(t, codes.InvalidArgument, err, "something else")
}

func TestSizes(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	require.EqualValues(t, defaultCapacity, driver.mustCreateVolume("default", withSize(0, 0)).CapacityBytes)
	require.EqualValues(t, 1<<20, driver.mustCreateVolume("small", withSize(0, 1<<20)).CapacityBytes)
	_, err := driver.createVolume("crossed", withSize(2, 1))
	requireCode(t, codes.InvalidArgument, err)

	vol := driver.mustCreateVolume("source", withSize(3<<20, 3<<20))
	snap := driver.mustCreateSnapshot("snap", vol.VolumeId)
	require.EqualValues(t, 3<<20, snap.SizeBytes)
	for _, from := range []func(*csi.CreateVolumeRequest){fromSnapshot(snap.SnapshotId), fromVolume(vol.VolumeId)} {
		_, err = driver.createVolume("smaller", from, withSize(3<<20-1, 0))
		requireCode(t, codes.OutOfRange, err, "fewer than the source's")
		_, err = driver.createVolume("limited", from, withSize(0, 3<<20-1))
		requireCode(t, codes.OutOfRange, err, "limit")
	}
	require.EqualValues(t, 3<<20, driver.mustCreateVolume("same", fromSnapshot(snap.SnapshotId), withSize(0, 0)).CapacityBytes)
	require.EqualValues(t, 5<<20, driver.mustCreateVolume("larger", fromSnapshot(snap.SnapshotId), withSize(5<<20, 0)).CapacityBytes)
}

func TestBlockVolume(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	image := func(id string) string { return filepath.Join(driver.data, "volumes", id, "data.img") }
	vol := driver.mustCreateVolume("block", asBlock)
	require.Len(t, read(t, image(vol.VolumeId)), 1<<20)
	device, err := os.OpenFile(image(vol.VolumeId), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = device.WriteAt([]byte("end"), 1<<20-3)
	require.NoError(t, err)
	require.NoError(t, device.Close())

	snap := driver.mustCreateSnapshot("snap", vol.VolumeId)
	_, err = driver.createVolume("as folder", fromSnapshot(snap.SnapshotId))
	requireCode(t, codes.InvalidArgument, err, "volume mode Block")
	restored := driver.mustCreateVolume("restored", asBlock, fromSnapshot(snap.SnapshotId), withSize(2<<20, 0))
	require.Equal(t, read(t, image(vol.VolumeId)), read(t, image(restored.VolumeId))[:1<<20])
	require.Len(t, read(t, image(restored.VolumeId)), 2<<20)

	for range 2 {
		grown, err := driver.ControllerExpandVolume(deadline(t), &csi.ControllerExpandVolumeRequest{
			VolumeId: restored.VolumeId, CapacityRange: &csi.CapacityRange{RequiredBytes: 4 << 20},
		})
		require.NoError(t, err)
		require.EqualValues(t, 4<<20, grown.CapacityBytes)
	}
	require.Len(t, read(t, image(restored.VolumeId)), 4<<20)
	_, err = driver.ControllerExpandVolume(deadline(t), &csi.ControllerExpandVolumeRequest{
		VolumeId: restored.VolumeId, CapacityRange: &csi.CapacityRange{LimitBytes: 2 << 20},
	})
	requireCode(t, codes.OutOfRange, err)
}

func TestCloneOutlivesItsSource(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("source")
	write(t, filepath.Join(driver.volumeDir(vol.VolumeId), "file"), "cloned")
	clone := driver.mustCreateVolume("clone", fromVolume(vol.VolumeId))
	_, err := driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: vol.VolumeId})
	require.NoError(t, err)
	require.Equal(t, "cloned", read(t, filepath.Join(driver.volumeDir(clone.VolumeId), "file")))
	require.Equal(t, vol.VolumeId, clone.ContentSource.GetVolume().VolumeId)
}

func TestListVolumesPages(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	want := map[string]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		want[driver.mustCreateVolume(name).VolumeId] = true
	}
	var token string
	var seen []string
	for {
		page, err := driver.ListVolumes(deadline(t), &csi.ListVolumesRequest{MaxEntries: 2, StartingToken: token})
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Entries), 2)
		for _, entry := range page.Entries {
			seen = append(seen, entry.Volume.VolumeId)
		}
		if token = page.NextToken; token == "" {
			break
		}
		// The entry a token names may vanish between two pages.
		_, err = driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: token})
		require.NoError(t, err)
	}
	require.Len(t, seen, len(want))
	for _, id := range seen {
		require.True(t, want[id])
		delete(want, id)
	}
}
