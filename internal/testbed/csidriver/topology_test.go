package main

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

const zoneKey = "example.com/zone"

func zones(names ...string) (topologies []*csi.Topology) {
	for _, name := range names {
		topologies = append(topologies, &csi.Topology{Segments: map[string]string{zoneKey: name}})
	}
	return topologies
}

func accessible(preferred, requisite []*csi.Topology) func(*csi.CreateVolumeRequest) {
	return func(req *csi.CreateVolumeRequest) {
		req.AccessibilityRequirements = &csi.TopologyRequirement{Preferred: preferred, Requisite: requisite}
	}
}

func zoneOf(t *testing.T, vol *csi.Volume) string {
	t.Helper()
	require.Len(t, vol.AccessibleTopology, 1)
	return vol.AccessibleTopology[0].Segments[zoneKey]
}

func TestZones(t *testing.T) {
	driver := startDriver(t, t.TempDir(), "--topology", zoneKey+"=b", "--topology", "example.com/region=r", "--zones", "a,b,c")
	for name, test := range map[string]struct {
		preferred, requisite []*csi.Topology
		want                 string
	}{
		"none asked for":     {nil, nil, "b"},
		"preferred first":    {zones("c", "a"), zones("a", "b", "c"), "c"},
		"requisite alone":    {nil, zones("a"), "a"},
		"first that is ours": {zones("x"), zones("y", "c"), "c"},
	} {
		vol := driver.mustCreateVolume(name, accessible(test.preferred, test.requisite))
		require.Equal(t, test.want, zoneOf(t, vol), name)
		require.Equal(t, test.want, vol.VolumeContext["zone"])
		require.Equal(t, "r", vol.AccessibleTopology[0].Segments["example.com/region"])
	}
	_, err := driver.createVolume("elsewhere", accessible(nil, zones("x")))
	requireCode(t, codes.ResourceExhausted, err, "map[example.com/zone:x]", "a, b, c")
	elsewhere := &csi.Topology{Segments: map[string]string{zoneKey: "a", "example.com/region": "other"}}
	_, err = driver.createVolume("other region", accessible(nil, []*csi.Topology{elsewhere}))
	requireCode(t, codes.ResourceExhausted, err, "other")
	_, err = driver.createVolume("none asked for", accessible(nil, zones("a")))
	requireCode(t, codes.AlreadyExists, err, "topology")
}

func TestNodeSaysItsZone(t *testing.T) {
	driver := startDriver(t, t.TempDir(), "--topology", zoneKey+"=b", "--zones", "a,b")
	info, err := driver.NodeGetInfo(deadline(t), &csi.NodeGetInfoRequest{})
	require.NoError(t, err)
	require.Equal(t, "node-a", info.NodeId)
	require.Equal(t, map[string]string{zoneKey: "b"}, info.AccessibleTopology.Segments)

	vol := driver.mustCreateVolume("far", accessible(nil, zones("a")))
	_, err = driver.NodePublishVolume(deadline(t), &csi.NodePublishVolumeRequest{
		VolumeId: vol.VolumeId, TargetPath: shortDir(t) + "/target", VolumeCapability: mountCapability(), VolumeContext: vol.VolumeContext,
	})
	requireCode(t, codes.FailedPrecondition, err, "out of reach of node node-a")
}

func TestWithoutTopology(t *testing.T) {
	driver := startDriver(t, t.TempDir())
	vol := driver.mustCreateVolume("pvc-1", accessible(zones("a"), zones("a")))
	require.Empty(t, vol.AccessibleTopology)
	info, err := driver.NodeGetInfo(deadline(t), &csi.NodeGetInfoRequest{})
	require.NoError(t, err)
	require.Nil(t, info.AccessibleTopology)
	capabilities, err := driver.GetPluginCapabilities(deadline(t), &csi.GetPluginCapabilitiesRequest{})
	require.NoError(t, err)
	for _, capability := range capabilities.Capabilities {
		require.NotEqual(t, csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS, capability.GetService().GetType())
	}
}

func TestSnapshotsAcrossZones(t *testing.T) {
	data := t.TempDir()
	flags := []string{"--topology", zoneKey + "=b", "--zones", "a,b"}
	driver := startDriver(t, data, flags...)
	vol := driver.mustCreateVolume("source", accessible(nil, zones("a")))
	snap := fromSnapshot(driver.mustCreateSnapshot("snap", vol.VolumeId).SnapshotId)
	require.Equal(t, "b", zoneOf(t, driver.mustCreateVolume("anywhere", snap)))
	_, err := driver.createVolume("clone", fromVolume(vol.VolumeId), accessible(nil, zones("b")))
	requireCode(t, codes.ResourceExhausted, err, `bound to zone "a"`)
	require.Equal(t, "a", zoneOf(t, driver.mustCreateVolume("clone", fromVolume(vol.VolumeId))))

	zonal := startDriver(t, data, append(flags, "--zonal-snapshots")...)
	require.Equal(t, "a", zoneOf(t, zonal.mustCreateVolume("home", snap)))
	require.Equal(t, "a", zoneOf(t, zonal.mustCreateVolume("chosen", snap, accessible(zones("b"), zones("b", "a")))))
	_, err = zonal.createVolume("away", snap, accessible(zones("b"), zones("b")))
	requireCode(t, codes.ResourceExhausted, err, `bound to zone "a"`)

	elsewhere := startDriver(t, data, "--topology", zoneKey+"=c", "--zonal-snapshots")
	_, err = elsewhere.createVolume("far", snap)
	requireCode(t, codes.ResourceExhausted, err, `zone "a" is not one of c`)
}
