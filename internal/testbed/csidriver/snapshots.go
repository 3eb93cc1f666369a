package main

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// CreateSnapshot copies the volume before it returns; whether the snapshot is
// ready to use by then is for the control file to say.
func (d *driver) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if req.GetName() == "" {
		return nil, missing("name")
	}
	if req.GetSourceVolumeId() == "" {
		return nil, missing("source_volume_id")
	}
	release, err := d.store.lock.acquire(ctx)
	if err != nil {
		return nil, rpcError("create snapshot", err)
	}
	defer release()
	snap, err := d.findOrMakeSnapshot(ctx, req)
	if err != nil {
		return nil, rpcError("create snapshot "+req.GetName(), err)
	}
	return &csi.CreateSnapshotResponse{Snapshot: snap.toCSI(time.Now())}, nil
}

func (d *driver) findOrMakeSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*snapshot, error) {
	snap, err := d.store.snapshots.find(func(s *snapshot) bool { return s.Name == req.GetName() })
	if err != nil {
		return nil, err
	}
	if snap == nil {
		return d.makeSnapshot(ctx, req)
	}
	if snap.SourceVolumeID != req.GetSourceVolumeId() {
		return nil, status.Errorf(codes.AlreadyExists, "snapshot %q exists as %s of volume %s", snap.Name, snap.ID, snap.SourceVolumeID)
	}
	if !maps.Equal(snap.Parameters, req.GetParameters()) {
		return nil, status.Errorf(codes.AlreadyExists, "snapshot %q exists as %s with other parameters", snap.Name, snap.ID)
	}
	return snap, nil
}

func (d *driver) makeSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*snapshot, error) {
	vol, err := d.store.volumes.get(req.GetSourceVolumeId())
	if err != nil {
		return nil, err
	}
	settings, err := d.control.read()
	if err != nil {
		return nil, err
	}
	snap := d.newSnapshot(vol, req.GetName(), req.GetParameters(), settings)
	return snap, d.addSnapshot(ctx, snap)
}

func (d *driver) newSnapshot(vol *volume, name string, parameters map[string]string, settings *settings) *snapshot {
	now := time.Now().UTC()
	return &snapshot{
		ID:             d.store.snapshots.newID(settings.HandleLength),
		Name:           name,
		SourceVolumeID: vol.ID,
		SizeBytes:      vol.CapacityBytes,
		VolumeMode:     vol.VolumeMode,
		Topology:       vol.Topology,
		Parameters:     parameters,
		CreationTime:   now,
		ReadyAt:        now.Add(time.Duration(settings.SnapshotReadyDelay)),
	}
}

// addSnapshot copies the volume. The caller holds the lock.
func (d *driver) addSnapshot(ctx context.Context, snap *snapshot) error {
	return d.store.snapshots.add(snap.ID, snap, func(folder string) error {
		from := d.store.volumes.dataPath(snap.SourceVolumeID, snap.VolumeMode)
		return copyContent(ctx, from, filepath.Join(folder, dataName(snap.VolumeMode)))
	})
}

// DeleteSnapshot succeeds too for a snapshot that is not there.
func (d *driver) DeleteSnapshot(ctx context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if req.GetSnapshotId() == "" {
		return nil, missing("snapshot_id")
	}
	release, err := d.store.lock.acquire(ctx)
	if err != nil {
		return nil, rpcError("delete snapshot", err)
	}
	defer release()
	err = d.checkNoDependents(source{SnapshotID: req.GetSnapshotId()})
	if err == nil {
		err = d.leaveGroup(req.GetSnapshotId())
	}
	if err == nil {
		err = d.store.snapshots.remove(req.GetSnapshotId())
	}
	if err != nil {
		return nil, rpcError("delete snapshot", err)
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// ListSnapshots filters by snapshot and by source volume; what no snapshot
// answers to is an empty list and no error.
func (d *driver) ListSnapshots(_ context.Context, req *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	settings, err := d.control.read()
	if err != nil {
		return nil, rpcError("list snapshots", err)
	}
	if !settings.listsSnapshots() {
		return nil, status.Error(codes.Unimplemented, "ListSnapshots is switched off by the control file")
	}
	entries, err := d.store.snapshots.list()
	if err != nil {
		return nil, rpcError("list snapshots", err)
	}
	entries = slices.DeleteFunc(entries, func(s *snapshot) bool { return !s.answers(req) })
	id := func(s *snapshot) string { return s.ID }
	page, next, err := pageOf(entries, id, d.store.snapshots.validID, req.GetStartingToken(), req.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	response := &csi.ListSnapshotsResponse{NextToken: next}
	now := time.Now()
	for _, snap := range page {
		if settings.HideGroups {
			snap.GroupID = ""
		}
		response.Entries = append(response.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: snap.toCSI(now)})
	}
	return response, nil
}

func (s *snapshot) answers(req *csi.ListSnapshotsRequest) bool {
	if id := req.GetSnapshotId(); id != "" && id != s.ID {
		return false
	}
	volumeID := req.GetSourceVolumeId()
	return volumeID == "" || volumeID == s.SourceVolumeID
}

func (s *snapshot) toCSI(now time.Time) *csi.Snapshot {
	return &csi.Snapshot{
		SnapshotId:     s.ID,
		SourceVolumeId: s.SourceVolumeID,
		SizeBytes:      s.SizeBytes,
		CreationTime:   timestamppb.New(s.CreationTime),
		ReadyToUse:     s.ready(now),

		GroupSnapshotId: s.GroupID,
	}
}
