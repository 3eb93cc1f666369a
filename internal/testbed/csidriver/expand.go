package main

import (
	"context"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ControllerExpandVolume grows a volume; one that is large enough is left.
func (d *driver) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, missing("volume_id")
	}
	if req.GetCapacityRange() == nil {
		return nil, missing("capacity_range")
	}
	want, err := parseCapacity(req.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	release, err := d.store.lock.acquire(ctx)
	if err != nil {
		return nil, rpcError("expand volume", err)
	}
	defer release()
	size, err := d.expand(req.GetVolumeId(), want)
	if err != nil {
		return nil, rpcError("expand volume "+req.GetVolumeId(), err)
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: size}, nil
}

func (d *driver) expand(id string, want capacity) (int64, error) {
	vol, err := d.store.volumes.get(id)
	if err != nil {
		return 0, err
	}
	size := max(vol.CapacityBytes, want.required)
	if !want.admits(size) {
		return 0, status.Errorf(codes.OutOfRange, "the volume has %d bytes, more than the limit of %d", size, want.limit)
	}
	if size == vol.CapacityBytes {
		return size, nil
	}
	vol.CapacityBytes = size
	if vol.VolumeMode == modeBlock {
		if err := os.Truncate(d.store.volumes.dataPath(id, modeBlock), size); err != nil {
			return 0, err
		}
	}
	return size, d.store.volumes.update(id, vol)
}
