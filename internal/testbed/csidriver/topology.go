package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// topologyConfig says where this node is and in which zones volumes can be
// made. All zones share the segments other than the zone itself.
type topologyConfig struct {
	zoneKey  string
	segments map[string]string
	zones    []string
}

func (t *topologyConfig) enabled() bool { return t.zoneKey != "" }

func (t *topologyConfig) addSegment(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" || value == "" {
		return fmt.Errorf("want key=value, not %q", text)
	}
	if t.segments == nil {
		t.segments = map[string]string{}
		t.zoneKey = key
	}
	if _, twice := t.segments[key]; twice {
		return fmt.Errorf("key %q is given twice", key)
	}
	t.segments[key] = value
	return nil
}

// setZones comes after the last addSegment.
func (t *topologyConfig) setZones(list string) {
	switch {
	case list != "":
		t.zones = strings.Split(list, ",")
	case t.enabled():
		t.zones = []string{t.segments[t.zoneKey]}
	}
}

func (t *topologyConfig) inZone(zone string) map[string]string {
	segments := maps.Clone(t.segments)
	segments[t.zoneKey] = zone
	return segments
}

// place chooses the segments for a new volume. A non-empty bound zone, that of
// a source which cannot leave it, is the only one allowed. The result is nil
// for a driver without topology, ResourceExhausted when nothing fits.
func (t *topologyConfig) place(req *csi.TopologyRequirement, bound string) (map[string]string, error) {
	if !t.enabled() {
		return nil, nil
	}
	wanted := slices.Concat(req.GetPreferred(), req.GetRequisite())
	if len(wanted) == 0 {
		return t.placeAnywhere(bound)
	}
	for _, topology := range wanted {
		if zone, ok := t.serves(topology.GetSegments()); ok && (bound == "" || zone == bound) {
			return t.inZone(zone), nil
		}
	}
	return nil, status.Errorf(codes.ResourceExhausted,
		"no requested topology can be served: requested %s; zones of %s: %s%s",
		describe(wanted), t.zoneKey, strings.Join(t.zones, ", "), boundNote(bound))
}

func (t *topologyConfig) placeAnywhere(bound string) (map[string]string, error) {
	if len(t.zones) == 0 {
		return nil, status.Errorf(codes.ResourceExhausted, "no zone of %s has room", t.zoneKey)
	}
	zone := t.segments[t.zoneKey]
	if !slices.Contains(t.zones, zone) {
		zone = t.zones[0]
	}
	if bound == "" {
		return t.inZone(zone), nil
	}
	if !slices.Contains(t.zones, bound) {
		return nil, status.Errorf(codes.ResourceExhausted, "the source's zone %q is not one of %s", bound, strings.Join(t.zones, ", "))
	}
	return t.inZone(bound), nil
}

// without is the same with no room in the zones named.
func (t *topologyConfig) without(full []string) *topologyConfig {
	rest := *t
	rest.zones = slices.DeleteFunc(slices.Clone(t.zones), func(zone string) bool { return slices.Contains(full, zone) })
	return &rest
}

// serves reports the zone of segments that this driver can serve: a known zone
// and no other segment than this node's.
func (t *topologyConfig) serves(segments map[string]string) (string, bool) {
	zone, ok := segments[t.zoneKey]
	if !ok || !slices.Contains(t.zones, zone) {
		return "", false
	}
	for key, value := range segments {
		if key != t.zoneKey && t.segments[key] != value {
			return "", false
		}
	}
	return zone, true
}

// admits reports whether a volume that lies in segments answers the request.
func admits(req *csi.TopologyRequirement, segments map[string]string) bool {
	wanted := req.GetRequisite()
	if len(wanted) == 0 {
		wanted = req.GetPreferred()
	}
	if len(wanted) == 0 || len(segments) == 0 {
		return true
	}
	return slices.ContainsFunc(wanted, func(topology *csi.Topology) bool {
		for key, value := range topology.GetSegments() {
			if segments[key] != value {
				return false
			}
		}
		return true
	})
}

func toTopologies(segments map[string]string) []*csi.Topology {
	if len(segments) == 0 {
		return nil
	}
	return []*csi.Topology{{Segments: segments}}
}

func describe(topologies []*csi.Topology) string {
	var parts []string
	for _, topology := range topologies {
		parts = append(parts, fmt.Sprint(topology.GetSegments()))
	}
	return strings.Join(parts, ", ")
}

func boundNote(zone string) string {
	if zone == "" {
		return ""
	}
	return fmt.Sprintf("; the source is bound to zone %q", zone)
}
