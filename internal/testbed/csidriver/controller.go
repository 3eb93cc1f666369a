package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ControllerGetCapabilities leaves out what the control file switches off.
func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	kinds := []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	}
	settings, err := d.control.read()
	if err != nil {
		return nil, rpcError("read the control file", err)
	}
	if settings.listsSnapshots() {
		kinds = append(kinds, csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS)
	}
	if settings.modifiesVolumes() {
		kinds = append(kinds, csi.ControllerServiceCapability_RPC_MODIFY_VOLUME)
	}
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range kinds {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return response, nil
}

// ValidateVolumeCapabilities confirms what the volume was made with; for
// anything else it says in the message what differs.
func (d *driver) ValidateVolumeCapabilities(_ context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, missing("volume_id")
	}
	want, err := parseCapabilities(req.GetVolumeCapabilities())
	if err != nil {
		return nil, err
	}
	vol, err := d.store.volumes.get(req.GetVolumeId())
	if err != nil {
		return nil, rpcError("validate volume", err)
	}
	if difference := vol.difference(want, req.GetParameters(), req.GetVolumeContext()); difference != "" {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: difference}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext:      req.GetVolumeContext(),
		VolumeCapabilities: req.GetVolumeCapabilities(),
		Parameters:         req.GetParameters(),
	}}, nil
}

func (v *volume) difference(want capabilities, parameters, attributes map[string]string) string {
	switch {
	case want.volumeMode != v.VolumeMode:
		return "the volume has volume mode " + v.VolumeMode
	case !containsAll(v.AccessModes, want.accessModes):
		return "the volume was made with the access modes " + strings.Join(v.AccessModes, ", ")
	case len(parameters) > 0 && !maps.Equal(parameters, v.Parameters):
		return "the volume was made with other parameters"
	case len(attributes) > 0:
		return v.contextDifference(attributes)
	}
	return ""
}

// contextDifference compares a volume_context with the one the volume was
// returned with, leaving out the keys that Kubernetes adds.
func (v *volume) contextDifference(given map[string]string) string {
	own := maps.Clone(given)
	maps.DeleteFunc(own, func(key, _ string) bool {
		_, ours := v.Context[key]
		domain, _, _ := strings.Cut(key, "/")
		return !ours && (strings.HasSuffix(domain, "kubernetes.io") || strings.HasSuffix(domain, "k8s.io"))
	})
	if maps.Equal(own, v.Context) {
		return ""
	}
	keys := slices.Sorted(maps.Keys(v.Context))
	for _, key := range slices.Concat(keys, slices.Sorted(maps.Keys(own))) {
		if own[key] != v.Context[key] {
			return fmt.Sprintf("volume_context: %s is %q but the volume's is %q", key, own[key], v.Context[key])
		}
	}
	return "volume_context differs from the volume's"
}

// capabilities is what a list of CSI volume capabilities comes to.
type capabilities struct {
	volumeMode  string
	accessModes []string
}

func parseCapabilities(list []*csi.VolumeCapability) (capabilities, error) {
	if len(list) == 0 {
		return capabilities{}, missing("volume_capabilities")
	}
	var parsed capabilities
	for _, capability := range list {
		mode, err := volumeMode(capability)
		if err != nil {
			return capabilities{}, err
		}
		if parsed.volumeMode != "" && mode != parsed.volumeMode {
			return capabilities{}, status.Error(codes.InvalidArgument, "volume_capabilities ask for Block and Filesystem at once")
		}
		access := capability.GetAccessMode().GetMode()
		if access == csi.VolumeCapability_AccessMode_UNKNOWN {
			return capabilities{}, missing("volume_capabilities.access_mode")
		}
		parsed.volumeMode = mode
		parsed.accessModes = append(parsed.accessModes, access.String())
	}
	slices.Sort(parsed.accessModes)
	parsed.accessModes = slices.Compact(parsed.accessModes)
	return parsed, nil
}

func volumeMode(capability *csi.VolumeCapability) (string, error) {
	switch {
	case capability.GetBlock() != nil:
		return modeBlock, nil
	case capability.GetMount() != nil:
		return modeFilesystem, nil
	default:
		return "", missing("volume_capabilities.access_type")
	}
}

func containsAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(item string) bool { return !slices.Contains(have, item) })
}

func missing(field string) error {
	return status.Errorf(codes.InvalidArgument, "%s is required", field)
}

// rpcError gives an error of the storage its gRPC code; one that has a code
// keeps it.
func rpcError(operation string, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Internal
	switch {
	case errors.Is(err, errAbsent):
		code = codes.NotFound
	case errors.Is(err, errChanging):
		code = codes.Aborted
	case errors.Is(err, errControl):
		code = codes.FailedPrecondition
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Errorf(code, "%s: %v", operation, err)
}
