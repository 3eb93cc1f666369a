package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func (p *process) createGroup(name string, volumes ...string) (*csi.VolumeGroupSnapshot, error) {
	response, err := p.CreateVolumeGroupSnapshot(deadline(p.t), &csi.CreateVolumeGroupSnapshotRequest{Name: name, SourceVolumeIds: volumes})
	return response.GetGroupSnapshot(), err
}

func (p *process) deleteGroup(id string, members ...string) error {
	_, err := p.DeleteVolumeGroupSnapshot(deadline(p.t), &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: id, SnapshotIds: members})
	return err
}

func (p *process) deleteSnapshot(id string) error {
	_, err := p.DeleteSnapshot(deadline(p.t), &csi.DeleteSnapshotRequest{SnapshotId: id})
	return err
}

func memberIDs(g *csi.VolumeGroupSnapshot) (ids []string) {
	for _, member := range g.Snapshots {
		ids = append(ids, member.SnapshotId)
	}
	return ids
}

func TestGroup(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	one, two := driver.mustCreateVolume("one"), driver.mustCreateVolume("two", asBlock)
	write(t, filepath.Join(driver.volumeDir(one.VolumeId), "file"), "first")
	g, err := driver.createGroup("g", two.VolumeId, one.VolumeId)
	require.NoError(t, err)
	write(t, filepath.Join(driver.volumeDir(one.VolumeId), "file"), "later")
	require.Len(t, g.Snapshots, 2)
	require.True(t, g.ReadyToUse)
	for _, member := range g.Snapshots {
		require.Equal(t, g.GroupSnapshotId, member.GroupSnapshotId)
		require.Equal(t, g.CreationTime.AsTime(), member.CreationTime.AsTime())
	}
	again, err := driver.createGroup("g", one.VolumeId, two.VolumeId)
	require.NoError(t, err)
	require.Equal(t, memberIDs(g), memberIDs(again))
	_, err = driver.createGroup("g", one.VolumeId)
	requireCode(t, codes.AlreadyExists, err)

	list, err := driver.ListSnapshots(deadline(t), &csi.ListSnapshotsRequest{SourceVolumeId: one.VolumeId})
	require.NoError(t, err)
	require.Len(t, list.Entries, 1)
	require.Equal(t, g.GroupSnapshotId, list.Entries[0].Snapshot.GroupSnapshotId)
	restored := driver.mustCreateVolume("restored", fromSnapshot(list.Entries[0].Snapshot.SnapshotId))
	require.Equal(t, "first", read(t, filepath.Join(driver.volumeDir(restored.VolumeId), "file")))

	got, err := driver.GetVolumeGroupSnapshot(deadline(t), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: g.GroupSnapshotId, SnapshotIds: memberIDs(g)})
	require.NoError(t, err)
	require.Equal(t, memberIDs(g), memberIDs(got.GroupSnapshot))
	requireCode(t, codes.InvalidArgument, driver.deleteSnapshot(g.Snapshots[0].SnapshotId))
	requireCode(t, codes.InvalidArgument, driver.deleteGroup(g.GroupSnapshotId, g.Snapshots[0].SnapshotId))
	other, err := driver.createGroup("other", one.VolumeId)
	require.NoError(t, err)
	require.NoError(t, driver.deleteGroup(g.GroupSnapshotId, memberIDs(g)...))
	require.NoError(t, driver.deleteGroup(g.GroupSnapshotId, memberIDs(g)...), "a second deletion")
	books := driver.books()
	require.Len(t, books.Groups, 1)
	require.Len(t, books.Snapshots, 1)
	require.NoError(t, driver.deleteGroup(other.GroupSnapshotId))
}

func TestGroupFails(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	one := driver.mustCreateVolume("one")
	_, err := driver.createGroup("g", one.VolumeId, "vol-0123456789abcdef")
	requireCode(t, codes.NotFound, err)
	require.Empty(t, driver.books().Snapshots, "half a group is none")

	driver.setControl(`{"rules": [{"method": "CreateVolumeGroupSnapshot", "match": "` + one.VolumeId + `", "code": "Unavailable"}]}`)
	_, err = driver.createGroup("g", one.VolumeId)
	requireCode(t, codes.Unavailable, err)

	driver.setControl(`{"groups": false}`)
	_, err = driver.createGroup("g", one.VolumeId)
	requireCode(t, codes.Unimplemented, err)
	has, err := driver.GetPluginCapabilities(deadline(t), &csi.GetPluginCapabilitiesRequest{})
	require.NoError(t, err)
	for _, capability := range has.Capabilities {
		require.NotEqual(t, csi.PluginCapability_Service_GROUP_CONTROLLER_SERVICE, capability.GetService().GetType())
	}
}

func TestMembersDeletedAlone(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	g, err := driver.createGroup("g", driver.mustCreateVolume("one").VolumeId, driver.mustCreateVolume("two").VolumeId)
	require.NoError(t, err)
	driver.setControl(`{"deleteMembers": true, "hideGroups": true}`)
	list, err := driver.ListSnapshots(deadline(t), &csi.ListSnapshotsRequest{})
	require.NoError(t, err)
	require.Len(t, list.Entries, 2)
	require.Empty(t, list.Entries[0].Snapshot.GroupSnapshotId)
	for left, id := range memberIDs(g) {
		require.NoError(t, driver.deleteSnapshot(id))
		require.Len(t, driver.books().Snapshots, 1-left)
		require.Len(t, driver.books().Groups, 1-left)
	}
}

// TestDeathInTheMiddleOfAGroup: members whose group was never made are removed when a
// driver starts.
func TestDeathInTheMiddleOfAGroup(t *testing.T) {
	data := t.TempDir()
	driver := startDriver(t, data)
	g, err := driver.createGroup("g", driver.mustCreateVolume("one").VolumeId)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(data, "groups", g.GroupSnapshotId)))
	require.Len(t, driver.books().Snapshots, 1)
	require.Empty(t, startDriver(t, data).books().Snapshots)
}
