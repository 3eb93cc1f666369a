package main

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func TestRuleFailsTheNextCalls(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("pvc-1")
	rules := `{"rules": [{"method": "CreateSnapshot", "code": "Unavailable", "message": "throttled", "times": 2}]}`
	for range 2 { // the file written anew arms its rules again
		driver.setControl(rules)
		for range 2 {
			_, err := driver.createSnapshot("snap", vol.VolumeId)
			requireCode(t, codes.Unavailable, err, "throttled")
		}
		driver.mustCreateSnapshot("snap", vol.VolumeId)
	}
	require.Len(t, driver.books().Snapshots, 1)
}

func TestRuleWithoutEnd(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	driver.setControl(`{"rules": [
		{"method": "*", "match": "pvc-2", "code": "Internal", "message": "broken", "times": 1},
		{"method": "CreateVolume", "match": "pvc-2", "code": "ResourceExhausted", "message": "full"}
	]}`)
	driver.mustCreateVolume("pvc-1")
	_, err := driver.createVolume("pvc-2")
	requireCode(t, codes.Internal, err, "broken")
	for range 3 {
		_, err = driver.createVolume("pvc-2")
		requireCode(t, codes.ResourceExhausted, err, "full")
	}
	driver.setControl(`{}`)
	driver.mustCreateVolume("pvc-2")
}

func TestRulesSpareTheIdentity(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	driver.setControl(`{"rules": [{"method": "*", "code": "Unavailable"}]}`)
	_, err := driver.Probe(deadline(t), &csi.ProbeRequest{})
	require.NoError(t, err)
	info, err := driver.GetPluginInfo(deadline(t), &csi.GetPluginInfoRequest{})
	require.NoError(t, err)
	require.Equal(t, defaultDriverName, info.Name)
	require.NotEmpty(t, info.VendorVersion)
	_, err = driver.NodeGetInfo(deadline(t), &csi.NodeGetInfoRequest{})
	requireCode(t, codes.Unavailable, err)
}

func TestRuleAfterTheWork(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	driver.setControl(`{"rules": [{"method": "CreateVolume", "code": "DeadlineExceeded", "message": "lost", "after": true, "times": 1}]}`)
	_, err := driver.createVolume("pvc-1")
	requireCode(t, codes.DeadlineExceeded, err, "lost")
	volumes := driver.books().Volumes
	require.Len(t, volumes, 1)
	require.Equal(t, volumes[0].ID, driver.mustCreateVolume("pvc-1").VolumeId)
}

func TestRuleDelays(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	driver.setControl(`{"rules": [{"method": "CreateVolume", "match": "slow", "delay": "300ms", "times": 1}, {"method": "CreateVolume", "match": "slow", "delay": "1h"}]}`)
	start := time.Now()
	driver.mustCreateVolume("slow-1")
	require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := driver.CreateVolume(ctx, volumeNamed("slow-2"))
	requireCode(t, codes.DeadlineExceeded, err)
	driver.mustCreateVolume("quick")
	require.Len(t, driver.books().Volumes, 2)
}

func TestSnapshotReadyLater(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("pvc-1")
	write(t, filepath.Join(driver.volumeDir(vol.VolumeId), "file"), "then")
	driver.setControl(`{"snapshotReadyDelay": "3s"}`)
	snap := driver.mustCreateSnapshot("snap", vol.VolumeId)
	require.NotEmpty(t, snap.SnapshotId)
	require.False(t, snap.ReadyToUse)
	_, err := driver.createVolume("early", fromSnapshot(snap.SnapshotId))
	requireCode(t, codes.FailedPrecondition, err, "not ready")
	write(t, filepath.Join(driver.volumeDir(vol.VolumeId), "file"), "now")
	require.Eventually(t, func() bool {
		list, err := driver.ListSnapshots(deadline(t), &csi.ListSnapshotsRequest{SnapshotId: snap.SnapshotId})
		require.NoError(t, err)
		return list.Entries[0].Snapshot.ReadyToUse
	}, testTimeout, 20*time.Millisecond)
	require.True(t, driver.mustCreateSnapshot("snap", vol.VolumeId).ReadyToUse)
	restored := driver.mustCreateVolume("restored", fromSnapshot(snap.SnapshotId))
	require.Equal(t, "then", read(t, filepath.Join(driver.volumeDir(restored.VolumeId), "file")))
}

func TestListSnapshotsSwitchedOff(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	claims := func() bool {
		response, err := driver.ControllerGetCapabilities(deadline(t), &csi.ControllerGetCapabilitiesRequest{})
		require.NoError(t, err)
		return slices.ContainsFunc(response.Capabilities, func(c *csi.ControllerServiceCapability) bool {
			return c.GetRpc().GetType() == csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS
		})
	}
	require.True(t, claims())
	driver.setControl(`{"listSnapshots": false}`)
	require.False(t, claims())
	_, err := driver.ListSnapshots(deadline(t), &csi.ListSnapshotsRequest{})
	requireCode(t, codes.Unimplemented, err)
}

func TestBadControlFile(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	for text, want := range map[string]string{
		`{`:                         "unexpected EOF",
		`{} {}`:                     "more than one JSON document",
		`{"rulez": []}`:             `unknown field "rulez"`,
		`{"rules": [{}]}`:           "rule 0: method is required",
		`{"listSnapshots": "off"}`:  "listSnapshots",
		`{"snapshotReadyDelay": 5}`: "want a duration",
		`{"rules": [{"method": "CreateVolume", "code": "Broken"}]}`:               `"Broken" is not the name of a gRPC code`,
		`{"rules": [{"method": "CreateVolume", "code": "OK"}]}`:                   `"OK" is not the name of a gRPC code`,
		`{"rules": [{"method": "CreateVolume", "delay": "-2s"}]}`:                 "must not be negative",
		`{"rules": [{"method": "CreateVolume", "delay": "2"}]}`:                   "missing unit",
		`{"rules": [{"method": "CreateVolume", "code": "Internal", "times": 0}]}`: "times is 0",
		`{"rules": [{"method": "CreateVolume", "after": true}]}`:                  "need a code",
		`{"copying": {"time": "-1s"}}`:                                            "copying.time is -1s",
		`{"copying": {"code": "Internal"}}`:                                       "copying needs a time",
		`{"handleLength": -1}`:                                                    "must not be negative",
		`{"requireSecrets": ["mount:a=b"]}`:                                       "want op:key=value",
	} {
		driver.setControl(text)
		for range 2 {
			_, err := driver.createVolume("pvc-1")
			requireCode(t, codes.FailedPrecondition, err, "control.json", want)
		}
	}
	driver.setControl(`{}`)
	driver.mustCreateVolume("pvc-1")
}
