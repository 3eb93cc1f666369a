package main

import (
	"context"
	"maps"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// CreateVolume makes an empty volume, a restored snapshot or a clone. The
// volume is visible only once it is whole.
func (d *driver) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	want, err := parseVolumeRequest(req)
	if err != nil {
		return nil, err
	}
	vol, err := d.makeSlowly(ctx, want)
	if err != nil {
		return nil, rpcError("create volume "+want.name, err)
	}
	return &csi.CreateVolumeResponse{Volume: vol.toCSI()}, nil
}

func (d *driver) findOrMakeVolume(ctx context.Context, want *volumeRequest) (*volume, error) {
	release, err := d.store.lock.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	vol, err := d.volumeNamed(want.name)
	switch {
	case err != nil:
		return nil, err
	case vol != nil:
		return vol, want.matches(vol)
	default:
		return d.makeVolume(ctx, want)
	}
}

func (d *driver) volumeNamed(name string) (*volume, error) {
	return d.store.volumes.find(func(v *volume) bool { return v.Name == name })
}

// volumeRequest is a checked CreateVolumeRequest.
type volumeRequest struct {
	name         string
	capabilities capabilities
	capacity     capacity
	parameters   map[string]string
	mutable      map[string]string
	source       source
	topology     *csi.TopologyRequirement
}

func parseVolumeRequest(req *csi.CreateVolumeRequest) (*volumeRequest, error) {
	if req.GetName() == "" {
		return nil, missing("name")
	}
	capabilities, err := parseCapabilities(req.GetVolumeCapabilities())
	if err != nil {
		return nil, err
	}
	capacity, err := parseCapacity(req.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	source, err := parseSource(req.GetVolumeContentSource())
	if err != nil {
		return nil, err
	}
	if err := checkMutable(req.GetMutableParameters()); err != nil {
		return nil, err
	}
	return &volumeRequest{
		name:         req.GetName(),
		capabilities: capabilities,
		capacity:     capacity,
		parameters:   req.GetParameters(),
		mutable:      req.GetMutableParameters(),
		source:       source,
		topology:     req.GetAccessibilityRequirements(),
	}, nil
}

// matches says whether a volume of the same name is what is asked for.
func (r *volumeRequest) matches(vol *volume) error {
	var difference string
	switch {
	case !r.capacity.admits(vol.CapacityBytes):
		difference = "capacity"
	case r.source != vol.Source:
		difference = "content source"
	case !maps.Equal(r.parameters, vol.Parameters):
		difference = "parameters"
	case !admits(r.topology, vol.Topology):
		difference = "topology"
	default:
		difference = vol.difference(r.capabilities, nil, nil)
	}
	if difference == "" {
		return nil
	}
	return status.Errorf(codes.AlreadyExists, "volume %q exists as %s with other properties: %s", r.name, vol.ID, difference)
}

func (d *driver) makeVolume(ctx context.Context, want *volumeRequest) (*volume, error) {
	from, err := d.origin(want.source)
	if err != nil {
		return nil, err
	}
	if from.path != "" && from.volumeMode != want.capabilities.volumeMode {
		return nil, status.Errorf(codes.InvalidArgument, "the source has volume mode %s, not %s", from.volumeMode, want.capabilities.volumeMode)
	}
	settings, err := d.control.read()
	if err != nil {
		return nil, err
	}
	size, err := want.capacity.choose(from.sizeBytes)
	if err != nil {
		return nil, err
	}
	topology := d.cfg.topology.without(settings.FullZones)
	segments, err := topology.place(want.topology, from.boundZone)
	if err != nil {
		return nil, err
	}
	vol := &volume{
		ID:            d.store.volumes.newID(settings.HandleLength),
		Name:          want.name,
		CapacityBytes: want.capacity.rounded(size, settings.RoundSizesTo),
		VolumeMode:    want.capabilities.volumeMode,
		AccessModes:   want.capabilities.accessModes,
		Topology:      segments,
		Parameters:    want.parameters,
		Mutable:       want.mutable,
		Source:        want.source,
		CreationTime:  time.Now().UTC(),
	}
	vol.Context = vol.attributes(segments[d.cfg.topology.zoneKey])
	err = d.store.volumes.add(vol.ID, vol, func(folder string) error {
		return fillVolume(ctx, filepath.Join(folder, dataName(vol.VolumeMode)), vol, from.path)
	})
	return vol, err
}

// attributes belong to this one volume, so that a user who gives a volume
// another's attributes is found out.
func (v *volume) attributes(zone string) map[string]string {
	attributes := map[string]string{"volume": v.ID}
	if zone != "" {
		attributes["zone"] = zone
	}
	if v.Source.SnapshotID != "" {
		attributes["restoredFrom"] = v.Source.SnapshotID
	}
	for key, value := range v.Parameters {
		attributes["parameter."+key] = value
	}
	return attributes
}

// DeleteVolume succeeds too for a volume that is not there.
func (d *driver) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, missing("volume_id")
	}
	release, err := d.store.lock.acquire(ctx)
	if err != nil {
		return nil, rpcError("delete volume", err)
	}
	defer release()
	err = d.checkNoDependents(source{VolumeID: req.GetVolumeId()})
	if err == nil {
		err = d.store.volumes.remove(req.GetVolumeId())
	}
	if err != nil {
		return nil, rpcError("delete volume", err)
	}
	return &csi.DeleteVolumeResponse{}, nil
}

// ListVolumes pages through the volumes in the order of their IDs.
func (d *driver) ListVolumes(_ context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	entries, err := d.store.volumes.list()
	if err != nil {
		return nil, rpcError("list volumes", err)
	}
	id := func(v *volume) string { return v.ID }
	page, next, err := pageOf(entries, id, d.store.volumes.validID, req.GetStartingToken(), req.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	response := &csi.ListVolumesResponse{NextToken: next}
	for _, vol := range page {
		response.Entries = append(response.Entries, &csi.ListVolumesResponse_Entry{Volume: vol.toCSI()})
	}
	return response, nil
}

func (v *volume) toCSI() *csi.Volume {
	return &csi.Volume{
		VolumeId:           v.ID,
		CapacityBytes:      v.CapacityBytes,
		VolumeContext:      v.Context,
		ContentSource:      v.Source.toCSI(),
		AccessibleTopology: toTopologies(v.Topology),
	}
}
