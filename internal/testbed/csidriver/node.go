package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NodeGetInfo places this node in the zone the command line names.
func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	response := &csi.NodeGetInfoResponse{NodeId: d.cfg.nodeID}
	if d.cfg.topology.enabled() {
		response.AccessibleTopology = &csi.Topology{Segments: d.cfg.topology.segments}
	}
	return response, nil
}

// NodeGetCapabilities has none to name: nothing is staged or measured.
func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

// NodePublishVolume links the target path to the volume's data. It refuses
// what would not work with a real mount either: a volume out of this node's
// reach, or one whose attributes are another's.
func (d *driver) NodePublishVolume(_ context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	vol, err := d.checkPublish(req)
	if err != nil {
		return nil, err
	}
	data, err := filepath.Abs(d.store.volumes.dataPath(vol.ID, vol.VolumeMode))
	if err != nil {
		return nil, rpcError("publish volume", err)
	}
	if existing, err := os.Readlink(req.GetTargetPath()); err == nil && existing == data {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := os.Symlink(data, req.GetTargetPath()); err != nil {
		return nil, rpcError("publish volume", err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (d *driver) checkPublish(req *csi.NodePublishVolumeRequest) (*volume, error) {
	if req.GetVolumeId() == "" {
		return nil, missing("volume_id")
	}
	if req.GetTargetPath() == "" {
		return nil, missing("target_path")
	}
	if req.GetVolumeCapability() == nil {
		return nil, missing("volume_capability")
	}
	want, err := parseCapabilities([]*csi.VolumeCapability{req.GetVolumeCapability()})
	if err != nil {
		return nil, err
	}
	if req.GetReadonly() {
		return nil, status.Error(codes.InvalidArgument, "read-only publishing is not supported: a symbolic link cannot keep it")
	}
	vol, err := d.store.volumes.get(req.GetVolumeId())
	if err != nil {
		return nil, rpcError("publish volume", err)
	}
	difference := vol.difference(want, nil, nil)
	if difference == "" {
		difference = vol.contextDifference(req.GetVolumeContext())
	}
	if difference != "" {
		return nil, status.Errorf(codes.InvalidArgument, "publish volume %s: %s", vol.ID, difference)
	}
	if !d.reaches(vol) {
		return nil, status.Errorf(codes.FailedPrecondition, "publish volume %s: it lies in %v, out of reach of node %s", vol.ID, vol.Topology, d.cfg.nodeID)
	}
	return vol, nil
}

func (d *driver) reaches(vol *volume) bool {
	return !d.cfg.topology.enabled() || admits(&csi.TopologyRequirement{
		Requisite: []*csi.Topology{{Segments: d.cfg.topology.segments}},
	}, vol.Topology)
}

// NodeUnpublishVolume removes the link. It touches nothing that is not a link
// to a volume of this storage.
func (d *driver) NodeUnpublishVolume(_ context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, missing("volume_id")
	}
	if req.GetTargetPath() == "" {
		return nil, missing("target_path")
	}
	target, err := os.Readlink(req.GetTargetPath())
	if errors.Is(err, fs.ErrNotExist) {
		return &csi.NodeUnpublishVolumeResponse{}, nil
	}
	folder, absErr := filepath.Abs(filepath.Join(d.store.volumes.dir, folderOf(req.GetVolumeId())))
	if err := errors.Join(err, absErr); err != nil {
		return nil, rpcError("unpublish volume", err)
	}
	if !strings.HasPrefix(target, folder+string(filepath.Separator)) {
		return nil, status.Errorf(codes.InvalidArgument, "unpublish volume %s: %s is a link to something else: %s", req.GetVolumeId(), req.GetTargetPath(), target)
	}
	if err := os.Remove(req.GetTargetPath()); err != nil {
		return nil, rpcError("unpublish volume", err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}
