package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func TestLongHandles(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	const length = 16 << 10
	driver.setControl(`{"handleLength": 16384}`)
	vol := driver.mustCreateVolume("pvc-1")
	require.Len(t, vol.VolumeId, length)
	driver.setControl(`{}`) // a handle stays what it is
	require.Equal(t, vol.VolumeId, driver.mustCreateVolume("pvc-1").VolumeId)
	write(t, filepath.Join(driver.volumeDir(folderOf(vol.VolumeId)), "file"), "then")
	driver.setControl(`{"handleLength": 16384}`)
	snap := driver.mustCreateSnapshot("snap", vol.VolumeId)
	require.Len(t, snap.SnapshotId, length)
	list, err := driver.ListSnapshots(deadline(t), &csi.ListSnapshotsRequest{SnapshotId: snap.SnapshotId})
	require.NoError(t, err)
	require.Len(t, list.Entries, 1)

	other := driver.mustCreateVolume("restored", fromSnapshot(snap.SnapshotId))
	require.Equal(t, "then", read(t, filepath.Join(driver.volumeDir(folderOf(other.VolumeId)), "file")))
	short := folderOf(other.VolumeId)
	for _, wrong := range []string{short, short + "/", other.VolumeId + "x", strings.TrimSuffix(other.VolumeId, "x")} {
		_, err = driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: wrong})
		require.NoError(t, err)
		_, err = driver.createSnapshot("of nothing", wrong)
		requireCode(t, codes.NotFound, err)
	}
	require.Len(t, driver.books().Volumes, 2)
	_, err = driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: other.VolumeId})
	require.NoError(t, err)
	_, err = driver.DeleteSnapshot(deadline(t), &csi.DeleteSnapshotRequest{SnapshotId: snap.SnapshotId})
	require.NoError(t, err)
	require.Len(t, driver.books().Volumes, 1)
	require.Empty(t, driver.books().Snapshots)
}

func TestSizesAreRounded(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	driver.setControl(`{"roundSizesTo": 4194304}`)
	require.EqualValues(t, 4<<20, driver.mustCreateVolume("pvc-1").CapacityBytes)
	require.EqualValues(t, 4<<20, driver.mustCreateVolume("pvc-1").CapacityBytes, "the same call again")
	require.EqualValues(t, 8<<20, driver.mustCreateVolume("pvc-2", withSize(5<<20, 0)).CapacityBytes)
	require.EqualValues(t, 8<<20, driver.mustCreateVolume("pvc-3", withSize(8<<20, 0)).CapacityBytes)
	require.EqualValues(t, 5<<20, driver.mustCreateVolume("pvc-4", withSize(5<<20, 6<<20)).CapacityBytes, "the limit holds")
}

func TestSourcesAreKept(t *testing.T) {
	driver, snap := withSnapshot(t)
	restored := driver.mustCreateVolume("restored", fromSnapshot(snap.SnapshotId))
	clone := driver.mustCreateVolume("clone", fromVolume(restored.VolumeId))
	driver.setControl(`{"keepSources": true}`)
	deleteVolume := func(id string) error {
		_, err := driver.DeleteVolume(deadline(t), &csi.DeleteVolumeRequest{VolumeId: id})
		return err
	}
	deleteSnapshot := func() error {
		_, err := driver.DeleteSnapshot(deadline(t), &csi.DeleteSnapshotRequest{SnapshotId: snap.SnapshotId})
		return err
	}
	requireCode(t, codes.FailedPrecondition, deleteSnapshot(), "dependent clones", restored.VolumeId)
	requireCode(t, codes.FailedPrecondition, deleteVolume(restored.VolumeId), "dependent clones", clone.VolumeId)
	requireCode(t, codes.FailedPrecondition, deleteVolume(snap.SourceVolumeId), "dependent snapshots", snap.SnapshotId)
	for _, id := range []string{clone.VolumeId, restored.VolumeId} {
		require.NoError(t, deleteVolume(id))
	}
	require.NoError(t, deleteSnapshot())
	require.NoError(t, deleteVolume(snap.SourceVolumeId))
}

func TestZonesWithoutRoom(t *testing.T) {
	driver := startDriver(t, t.TempDir(), "--topology", "zone=a", "--zones", "a,b")
	want := func(zones ...string) func(*csi.CreateVolumeRequest) {
		return func(req *csi.CreateVolumeRequest) {
			req.AccessibilityRequirements = &csi.TopologyRequirement{}
			for _, zone := range zones {
				req.AccessibilityRequirements.Requisite = append(req.AccessibilityRequirements.Requisite, &csi.Topology{Segments: map[string]string{"zone": zone}})
			}
		}
	}
	driver.setControl(`{"fullZones": ["a"]}`)
	_, err := driver.createVolume("pvc-1", want("a"))
	requireCode(t, codes.ResourceExhausted, err, "zones of zone: b")
	require.Equal(t, "b", driver.mustCreateVolume("pvc-2", want("a", "b")).AccessibleTopology[0].Segments["zone"])
	require.Equal(t, "b", driver.mustCreateVolume("pvc-3").AccessibleTopology[0].Segments["zone"])
	driver.setControl(`{"fullZones": ["a", "b"]}`)
	_, err = driver.createVolume("pvc-4")
	requireCode(t, codes.ResourceExhausted, err, "no zone")
	driver.setControl(`{}`)
	require.Equal(t, "a", driver.mustCreateVolume("pvc-5", want("a")).AccessibleTopology[0].Segments["zone"])
}

func TestMutableParameters(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("pvc-1", func(req *csi.CreateVolumeRequest) {
		req.MutableParameters = map[string]string{"tier": "gold", "iops": "9000"}
	})
	require.Equal(t, map[string]string{"tier": "gold", "iops": "9000"}, driver.books().Volumes[0].Mutable)
	_, err := driver.ControllerModifyVolume(deadline(t), &csi.ControllerModifyVolumeRequest{
		VolumeId: vol.VolumeId, MutableParameters: map[string]string{"tier": "silver"},
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"tier": "silver", "iops": "9000"}, driver.books().Volumes[0].Mutable)
	_, err = driver.ControllerModifyVolume(deadline(t), &csi.ControllerModifyVolumeRequest{VolumeId: "vol-0000000000000000"})
	requireCode(t, codes.NotFound, err)
	require.Contains(t, read(t, filepath.Join(driver.data, "calls.log")), `"mutableParameters":{"iops":"9000","tier":"gold"}`)

	driver.setControl(`{"modifyVolume": false}`)
	response, err := driver.ControllerGetCapabilities(deadline(t), &csi.ControllerGetCapabilitiesRequest{})
	require.NoError(t, err)
	for _, capability := range response.Capabilities {
		require.NotEqual(t, csi.ControllerServiceCapability_RPC_MODIFY_VOLUME, capability.GetRpc().GetType())
	}
}

func TestSecretsByTheControlFile(t *testing.T) {
	driver := startDriver(t, t.TempDir(), "--log-secrets")
	driver.setControl(`{"requireSecrets": ["create:token=of pvc-1"]}`)
	_, err := driver.createVolume("pvc-1", func(req *csi.CreateVolumeRequest) { req.Secrets = map[string]string{"token": "of pvc-2"} })
	requireCode(t, codes.Unauthenticated, err, `"token" is wrong`)
	driver.mustCreateVolume("pvc-1", func(req *csi.CreateVolumeRequest) { req.Secrets = map[string]string{"token": "of pvc-1"} })
	log := read(t, filepath.Join(driver.data, "calls.log"))
	require.Contains(t, log, `"secretValues":{"token":"of pvc-2"}`)
	require.Contains(t, log, `"secretValues":{"token":"of pvc-1"}`)
}
