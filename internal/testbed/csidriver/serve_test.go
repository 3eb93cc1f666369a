package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func TestStopEndsTheCallsUnderWay(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	driver.setControl(`{"rules": [
		{"method": "CreateVolume", "delay": "1h", "times": 1},
		{"method": "CreateVolume", "code": "Aborted", "message": "the other call waits"}
	]}`)
	failed := make(chan error, 2)
	for range cap(failed) {
		go func() {
			_, err := driver.CreateVolume(deadline(t), volumeNamed("pvc-1"))
			failed <- err
		}()
	}
	requireCode(t, codes.Aborted, <-failed)
	driver.stop()
	require.Error(t, <-failed)
	require.Contains(t, driver.stderr.String(), "cancelling the calls still under way")
	require.NoFileExists(t, driver.socket)
}

func TestStaleSocketIsReplaced(t *testing.T) {
	data, socket := t.TempDir(), filepath.Join(shortDir(t), "csi.sock")
	dead := launch(t, data, socket)
	dead.connect()
	dead.kill()
	require.FileExists(t, socket)

	living := launch(t, data, socket)
	t.Cleanup(living.stop)
	living.connect()

	refused := launch(t, data, socket)
	require.Error(t, refused.wait())
	require.Contains(t, refused.stderr.String(), "another process serves "+socket)
	_, err := living.Probe(deadline(t), &csi.ProbeRequest{})
	require.NoError(t, err)
}

func TestSocketCannotBeServed(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	write(t, file, "precious")
	for socket, want := range map[string]string{
		file: "is not a socket",
		filepath.Join(dir, strings.Repeat("x", 120)): "about 100 characters",
	} {
		refused := launch(t, t.TempDir(), socket)
		require.Error(t, refused.wait())
		require.Contains(t, refused.stderr.String(), want)
	}
	require.Equal(t, "precious", read(t, file))
}

func TestBadControlFileAtStart(t *testing.T) {
	data := t.TempDir()
	write(t, filepath.Join(data, "control.json"), `{"rule": 1}`)
	refused := launch(t, data, filepath.Join(shortDir(t), "csi.sock"))
	require.Error(t, refused.wait())
	require.Contains(t, refused.stderr.String(), `unknown field "rule"`)
}

func TestFilesElsewhere(t *testing.T) {
	elsewhere := t.TempDir()
	calls, control := filepath.Join(elsewhere, "calls"), filepath.Join(elsewhere, "control")
	driver := startDriver(t, t.TempDir(), "--call-log", calls, "--control", control, "--name", "other.example.com")
	write(t, control, `{"rules": [{"method": "CreateVolume", "code": "Internal", "message": "as told"}]}`)
	_, err := driver.createVolume("pvc-1")
	requireCode(t, codes.Internal, err, "as told")
	require.Contains(t, read(t, calls), "as told")
	info, err := driver.GetPluginInfo(deadline(t), &csi.GetPluginInfoRequest{})
	require.NoError(t, err)
	require.Equal(t, "other.example.com", info.Name)
}

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestCallLog(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("pvc-1")
	snap := driver.mustCreateSnapshot("snap-1", vol.VolumeId)
	driver.setControl(`{"rules": [{"method": "DeleteSnapshot", "code": "Aborted", "message": "busy"}]}`)
	_, err := driver.DeleteSnapshot(deadline(t), &csi.DeleteSnapshotRequest{SnapshotId: snap.SnapshotId})
	requireCode(t, codes.Aborted, err)
	restored := driver.mustCreateVolume("pvc-2", fromSnapshot(snap.SnapshotId))

	var calls []callRecord
	file, err := os.Open(filepath.Join(driver.data, "calls.log"))
	require.NoError(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var call callRecord
		require.NoError(t, json.Unmarshal(lines.Bytes(), &call))
		require.NotZero(t, call.Time)
		require.Equal(t, "node-a", call.Node)
		require.Equal(t, defaultDriverName, call.Driver)
		call.Time, call.Driver, call.Node, call.Milliseconds = someTime, "", "", 0
		calls = append(calls, call)
	}
	rule := 0
	require.Equal(t, []callRecord{
		{Time: someTime, Method: "CreateVolume", Name: "pvc-1", ResultID: vol.VolumeId, Code: "OK"},
		{Time: someTime, Method: "CreateSnapshot", Name: "snap-1", SourceVolumeID: vol.VolumeId, ResultID: snap.SnapshotId, Code: "OK"},
		{Time: someTime, Method: "DeleteSnapshot", SnapshotID: snap.SnapshotId, Code: "Aborted", Message: "busy", Rule: &rule},
		{Time: someTime, Method: "CreateVolume", Name: "pvc-2", SourceSnapshotID: snap.SnapshotId, ResultID: restored.VolumeId, Code: "OK"},
	}, calls)

	books := driver.books()
	require.Equal(t, map[string]int{"CreateVolume": 2, "CreateSnapshot": 1, "DeleteSnapshot": 1}, books.Calls)
	require.Len(t, books.Volumes, 2)
	require.Len(t, books.Snapshots, 1)
	require.Equal(t, snap.SnapshotId, books.Snapshots[0].ID)
	require.Equal(t, vol.VolumeId, books.Snapshots[0].SourceVolumeID)
}
