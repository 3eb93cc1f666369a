package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// group is what group.json holds: snapshots of several volumes at one moment.
type group struct {
	ID              string            `json:"id"`
	Name            string            `json:"name"`
	SourceVolumeIDs []string          `json:"sourceVolumeIds"` // sorted
	SnapshotIDs     []string          `json:"snapshotIds"`
	Parameters      map[string]string `json:"parameters,omitempty"`
	CreationTime    time.Time         `json:"creationTime"`
}

// GroupControllerGetCapabilities claims all there is.
func (d *driver) GroupControllerGetCapabilities(context.Context, *csi.GroupControllerGetCapabilitiesRequest) (*csi.GroupControllerGetCapabilitiesResponse, error) {
	return &csi.GroupControllerGetCapabilitiesResponse{Capabilities: []*csi.GroupControllerServiceCapability{{
		Type: &csi.GroupControllerServiceCapability_Rpc{Rpc: &csi.GroupControllerServiceCapability_RPC{
			Type: csi.GroupControllerServiceCapability_RPC_CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT,
		}},
	}}}, nil
}

// CreateVolumeGroupSnapshot copies all volumes while it holds the storage's lock. The
// point in time is one for those who write under that lock.
func (d *driver) CreateVolumeGroupSnapshot(ctx context.Context, req *csi.CreateVolumeGroupSnapshotRequest) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	switch {
	case req.GetName() == "":
		return nil, missing("name")
	case len(req.GetSourceVolumeIds()) == 0:
		return nil, missing("source_volume_ids")
	}
	release, err := d.lockForGroups(ctx)
	if err != nil {
		return nil, rpcError("create group snapshot", err)
	}
	defer release()
	made, err := d.findOrMakeGroup(ctx, req)
	if err != nil {
		return nil, rpcError("create group snapshot "+req.GetName(), err)
	}
	answer, err := d.groupToCSI(made)
	return &csi.CreateVolumeGroupSnapshotResponse{GroupSnapshot: answer}, err
}

func (d *driver) lockForGroups(ctx context.Context) (release func(), err error) {
	settings, err := d.control.read()
	if err != nil {
		return nil, err
	}
	if !settings.takesGroups() {
		return nil, status.Error(codes.Unimplemented, "groups are switched off by the control file")
	}
	return d.store.lock.acquire(ctx)
}

func (d *driver) findOrMakeGroup(ctx context.Context, req *csi.CreateVolumeGroupSnapshotRequest) (*group, error) {
	volumes := slices.Sorted(slices.Values(req.GetSourceVolumeIds()))
	found, err := d.store.groups.find(func(g *group) bool { return g.Name == req.GetName() })
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return d.makeGroup(ctx, req.GetName(), volumes, req.GetParameters())
	case !slices.Equal(found.SourceVolumeIDs, volumes) || !maps.Equal(found.Parameters, req.GetParameters()):
		return nil, status.Errorf(codes.AlreadyExists, "group snapshot %q exists as %s, of other volumes or with other parameters", found.Name, found.ID)
	}
	return found, nil
}

// makeGroup makes the group last: members without one are removed when a driver starts.
func (d *driver) makeGroup(ctx context.Context, name string, volumes []string, parameters map[string]string) (made *group, err error) {
	settings, err := d.control.read()
	if err != nil {
		return nil, err
	}
	g := &group{
		ID: d.store.groups.newID(settings.HandleLength), Name: name, SourceVolumeIDs: volumes,
		Parameters: parameters, CreationTime: time.Now().UTC(),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.removeMembers(g))
		}
	}()
	for _, id := range volumes {
		vol, err := d.store.volumes.get(id)
		if err != nil {
			return nil, err
		}
		member := d.newSnapshot(vol, name+"/"+id, parameters, settings)
		member.GroupID, member.CreationTime = g.ID, g.CreationTime
		if err := d.addSnapshot(ctx, member); err != nil {
			return nil, err
		}
		g.SnapshotIDs = append(g.SnapshotIDs, member.ID)
	}
	return g, d.store.groups.add(g.ID, g, func(string) error { return nil })
}

func (d *driver) removeMembers(of *group) error {
	var errs []error
	for _, id := range of.SnapshotIDs {
		errs = append(errs, d.store.snapshots.remove(id))
	}
	return errors.Join(errs...)
}

// DeleteVolumeGroupSnapshot succeeds too for a group that is not there.
func (d *driver) DeleteVolumeGroupSnapshot(ctx context.Context, req *csi.DeleteVolumeGroupSnapshotRequest) (*csi.DeleteVolumeGroupSnapshotResponse, error) {
	if req.GetGroupSnapshotId() == "" {
		return nil, missing("group_snapshot_id")
	}
	release, err := d.lockForGroups(ctx)
	if err != nil {
		return nil, rpcError("delete group snapshot", err)
	}
	defer release()
	found, err := d.group(req.GetGroupSnapshotId(), req.GetSnapshotIds())
	if err == nil {
		err = d.deleteGroup(found)
	}
	if err != nil && !errors.Is(err, errAbsent) {
		return nil, rpcError("delete group snapshot", err)
	}
	return &csi.DeleteVolumeGroupSnapshotResponse{}, nil
}

func (d *driver) deleteGroup(g *group) error {
	for _, id := range g.SnapshotIDs {
		if err := d.checkNoDependents(source{SnapshotID: id}); err != nil {
			return err
		}
	}
	return errors.Join(d.store.groups.remove(g.ID), d.removeMembers(g))
}

// group returns a group whose members are exactly those that the caller lists, if it
// lists any.
func (d *driver) group(id string, members []string) (*group, error) {
	found, err := d.store.groups.get(id)
	if err != nil || len(members) == 0 {
		return found, err
	}
	if !slices.Equal(slices.Sorted(slices.Values(found.SnapshotIDs)), slices.Sorted(slices.Values(members))) {
		return nil, status.Errorf(codes.InvalidArgument, "snapshot_ids: group %s has the snapshots %v, not %v", id, found.SnapshotIDs, members)
	}
	return found, nil
}

// GetVolumeGroupSnapshot tells how a group is now.
func (d *driver) GetVolumeGroupSnapshot(_ context.Context, req *csi.GetVolumeGroupSnapshotRequest) (*csi.GetVolumeGroupSnapshotResponse, error) {
	if req.GetGroupSnapshotId() == "" {
		return nil, missing("group_snapshot_id")
	}
	found, err := d.group(req.GetGroupSnapshotId(), req.GetSnapshotIds())
	if err != nil {
		return nil, rpcError("get group snapshot", err)
	}
	answer, err := d.groupToCSI(found)
	return &csi.GetVolumeGroupSnapshotResponse{GroupSnapshot: answer}, err
}

func (d *driver) groupToCSI(g *group) (*csi.VolumeGroupSnapshot, error) {
	now, all := time.Now(), &csi.VolumeGroupSnapshot{GroupSnapshotId: g.ID, CreationTime: timestamppb.New(g.CreationTime), ReadyToUse: true}
	for _, id := range g.SnapshotIDs {
		member, err := d.store.snapshots.get(id)
		if err != nil {
			return nil, rpcError("read group "+g.ID, err)
		}
		all.Snapshots = append(all.Snapshots, member.toCSI(now))
		all.ReadyToUse = all.ReadyToUse && member.ready(now)
	}
	return all, nil
}

// leaveGroup takes a snapshot that is to be deleted out of its group. By the CSI
// specification it cannot be deleted alone; the control file may allow it.
func (d *driver) leaveGroup(id string) error {
	settings, err := d.control.read()
	if err != nil {
		return err
	}
	of, err := d.store.groups.find(func(g *group) bool { return slices.Contains(g.SnapshotIDs, id) })
	switch {
	case err != nil || of == nil:
		return err
	case !settings.DeleteMembers:
		return status.Errorf(codes.InvalidArgument, "snapshot %s is part of group %s and cannot be deleted alone", id, of.ID)
	case len(of.SnapshotIDs) == 1:
		return d.store.groups.remove(of.ID)
	}
	of.SnapshotIDs = slices.DeleteFunc(of.SnapshotIDs, func(member string) bool { return member == id })
	return d.store.groups.update(of.ID, of)
}
