package pluginserver

import (
	"context"

	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
)

// snapshotterServer joins Velero's VolumeSnapshotter service to a
// VolumeSnapshotter.
type snapshotterServer struct {
	generated.UnimplementedVolumeSnapshotterServer
	snapshotters *instance[VolumeSnapshotter]
}

// Init implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) Init(ctx context.Context, req *generated.VolumeSnapshotterInitRequest) (*generated.Empty, error) {
	if err := s.snapshotters.init(ctx, req.Plugin, req.Config); err != nil {
		return nil, failure(err)
	}
	return &generated.Empty{}, nil
}

// CreateSnapshot implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) CreateSnapshot(ctx context.Context, req *generated.CreateSnapshotRequest) (*generated.CreateSnapshotResponse, error) {
	snapshotter, err := s.snapshotters.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	id, err := snapshotter.CreateSnapshot(ctx, req.VolumeID, req.VolumeAZ, req.Tags)
	if err != nil {
		return nil, failure(err)
	}
	return &generated.CreateSnapshotResponse{SnapshotID: id}, nil
}

// CreateVolumeFromSnapshot implements generated.VolumeSnapshotterServer. On the
// wire no IOPS is 0.
func (s *snapshotterServer) CreateVolumeFromSnapshot(ctx context.Context, req *generated.CreateVolumeRequest) (*generated.CreateVolumeResponse, error) {
	snapshotter, err := s.snapshotters.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	var iops *int64
	if req.Iops != 0 {
		iops = &req.Iops
	}
	id, err := snapshotter.CreateVolumeFromSnapshot(ctx, req.SnapshotID, req.VolumeType, req.VolumeAZ, iops)
	if err != nil {
		return nil, failure(err)
	}
	return &generated.CreateVolumeResponse{VolumeID: id}, nil
}

// DeleteSnapshot implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) DeleteSnapshot(ctx context.Context, req *generated.DeleteSnapshotRequest) (*generated.Empty, error) {
	snapshotter, err := s.snapshotters.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	if err := snapshotter.DeleteSnapshot(ctx, req.SnapshotID); err != nil {
		return nil, failure(err)
	}
	return &generated.Empty{}, nil
}

// GetVolumeInfo implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) GetVolumeInfo(ctx context.Context, req *generated.GetVolumeInfoRequest) (*generated.GetVolumeInfoResponse, error) {
	snapshotter, err := s.snapshotters.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	volumeType, iops, err := snapshotter.GetVolumeInfo(ctx, req.VolumeID, req.VolumeAZ)
	if err != nil {
		return nil, failure(err)
	}
	response := &generated.GetVolumeInfoResponse{VolumeType: volumeType}
	if iops != nil {
		response.Iops = *iops
	}
	return response, nil
}

// GetVolumeID implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) GetVolumeID(ctx context.Context, req *generated.GetVolumeIDRequest) (*generated.GetVolumeIDResponse, error) {
	snapshotter, err := s.snapshotters.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	id, err := snapshotter.GetVolumeID(ctx, req.PersistentVolume)
	if err != nil {
		return nil, failure(err)
	}
	return &generated.GetVolumeIDResponse{VolumeID: id}, nil
}

// SetVolumeID implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) SetVolumeID(ctx context.Context, req *generated.SetVolumeIDRequest) (*generated.SetVolumeIDResponse, error) {
	snapshotter, err := s.snapshotters.get(req.Plugin)
	if err != nil {
		return nil, failure(err)
	}
	persistentVolume, err := snapshotter.SetVolumeID(ctx, req.PersistentVolume, req.VolumeID)
	if err != nil {
		return nil, failure(err)
	}
	return &generated.SetVolumeIDResponse{PersistentVolume: persistentVolume}, nil
}
