package main

import (
	"context"
	"maps"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ControllerModifyVolume remembers the parameters of a VolumeAttributesClass.
func (d *driver) ControllerModifyVolume(ctx context.Context, req *csi.ControllerModifyVolumeRequest) (*csi.ControllerModifyVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, missing("volume_id")
	}
	if err := checkMutable(req.GetMutableParameters()); err != nil {
		return nil, err
	}
	release, err := d.store.lock.acquire(ctx)
	if err != nil {
		return nil, rpcError("modify volume", err)
	}
	defer release()
	vol, err := d.store.volumes.get(req.GetVolumeId())
	if err != nil {
		return nil, rpcError("modify volume", err)
	}
	if vol.Mutable == nil {
		vol.Mutable = map[string]string{}
	}
	maps.Copy(vol.Mutable, req.GetMutableParameters())
	if err := d.store.volumes.update(vol.ID, vol); err != nil {
		return nil, rpcError("modify volume", err)
	}
	return &csi.ControllerModifyVolumeResponse{}, nil
}

// checkMutable refuses parameters that the driver does not know.
func checkMutable(parameters map[string]string) error {
	for key := range parameters {
		if key != "tier" && key != "iops" {
			return status.Errorf(codes.InvalidArgument, "mutable parameter %q is neither tier nor iops", key)
		}
	}
	return nil
}
