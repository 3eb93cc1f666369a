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
	return on(s.snapshotters, req.Plugin, func(snapshotter VolumeSnapshotter) (*generated.CreateSnapshotResponse, error) {
		id, err := snapshotter.CreateSnapshot(ctx, req.VolumeID, req.VolumeAZ, req.Tags)
		return &generated.CreateSnapshotResponse{SnapshotID: id}, err
	})
}

// CreateVolumeFromSnapshot implements generated.VolumeSnapshotterServer. On the
// wire no IOPS is 0.
func (s *snapshotterServer) CreateVolumeFromSnapshot(ctx context.Context, req *generated.CreateVolumeRequest) (*generated.CreateVolumeResponse, error) {
	return on(s.snapshotters, req.Plugin, func(snapshotter VolumeSnapshotter) (*generated.CreateVolumeResponse, error) {
		var iops *int64
		if req.Iops != 0 {
			iops = &req.Iops
		}
		id, err := snapshotter.CreateVolumeFromSnapshot(ctx, req.SnapshotID, req.VolumeType, req.VolumeAZ, iops)
		return &generated.CreateVolumeResponse{VolumeID: id}, err
	})
}

// DeleteSnapshot implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) DeleteSnapshot(ctx context.Context, req *generated.DeleteSnapshotRequest) (*generated.Empty, error) {
	return on(s.snapshotters, req.Plugin, func(snapshotter VolumeSnapshotter) (*generated.Empty, error) {
		return &generated.Empty{}, snapshotter.DeleteSnapshot(ctx, req.SnapshotID)
	})
}

// GetVolumeInfo implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) GetVolumeInfo(ctx context.Context, req *generated.GetVolumeInfoRequest) (*generated.GetVolumeInfoResponse, error) {
	return on(s.snapshotters, req.Plugin, func(snapshotter VolumeSnapshotter) (*generated.GetVolumeInfoResponse, error) {
		volumeType, iops, err := snapshotter.GetVolumeInfo(ctx, req.VolumeID, req.VolumeAZ)
		response := &generated.GetVolumeInfoResponse{VolumeType: volumeType}
		if iops != nil {
			response.Iops = *iops
		}
		return response, err
	})
}

// GetVolumeID implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) GetVolumeID(ctx context.Context, req *generated.GetVolumeIDRequest) (*generated.GetVolumeIDResponse, error) {
	return on(s.snapshotters, req.Plugin, func(snapshotter VolumeSnapshotter) (*generated.GetVolumeIDResponse, error) {
		id, err := snapshotter.GetVolumeID(ctx, req.PersistentVolume)
		return &generated.GetVolumeIDResponse{VolumeID: id}, err
	})
}

// SetVolumeID implements generated.VolumeSnapshotterServer.
func (s *snapshotterServer) SetVolumeID(ctx context.Context, req *generated.SetVolumeIDRequest) (*generated.SetVolumeIDResponse, error) {
	return on(s.snapshotters, req.Plugin, func(snapshotter VolumeSnapshotter) (*generated.SetVolumeIDResponse, error) {
		persistentVolume, err := snapshotter.SetVolumeID(ctx, req.PersistentVolume, req.VolumeID)
		return &generated.SetVolumeIDResponse{PersistentVolume: persistentVolume}, err
	})
}
