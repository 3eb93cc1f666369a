package snapshotter

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

var zoneA = ids.Topology{{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{"zone-a"}}}}

func node(name, zone string, ready corev1.ConditionStatus) corev1.Node {
	return corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone, "kubernetes.io/hostname": name}},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
	}
}

func csiNode(name string, drivers ...string) storagev1.CSINode {
	n := storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, driver := range drivers {
		n.Spec.Drivers = append(n.Spec.Drivers, storagev1.CSINodeDriver{Name: driver})
	}
	return n
}

func TestPlacement(t *testing.T) {
	cordoned := node("a3", "zone-a", corev1.ConditionTrue)
	cordoned.Spec.Unschedulable = true
	nodes := []corev1.Node{
		node("c1", "zone-c", corev1.ConditionTrue), cordoned, node("a2", "zone-a", corev1.ConditionFalse),
		node("a1", "zone-a", corev1.ConditionTrue), node("b1", "zone-b", corev1.ConditionTrue), node("a0", "zone-a", corev1.ConditionTrue),
	}
	csi := []storagev1.CSINode{csiNode("a1", "d"), csiNode("a2", "d"), csiNode("a3", "d"), csiNode("b1", "e", "d"), csiNode("c1", "d"), csiNode("a0", "e")}

	within, beyond := placement{driver: "d", topology: zoneA}.sort(nodes, csi)
	require.Equal(t, []string{"a1", "a3", "a2"}, within, "fit nodes first, none without the driver")
	require.Equal(t, []string{"b1", "c1"}, beyond)

	within, beyond = placement{driver: "d", zone: "zone-b"}.sort(nodes, csi)
	require.Equal(t, "b1", within[0], "the zone Velero noted goes first")
	require.Len(t, within, 5)
	require.Empty(t, beyond)

	allowed := []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: corev1.LabelTopologyZone, Values: []string{"zone-c"}}}}}
	within, beyond = placement{driver: "d", topology: zoneA, allowed: allowed}.sort(nodes, csi)
	require.Empty(t, within)
	require.Equal(t, []string{"c1"}, beyond, "only where the class may make volumes")
}

func TestOwner(t *testing.T) {
	require.Empty(t, ownerOf(ids.SnapshotID{}, []string{"a"}))
	require.Equal(t, "b", ownerOf(ids.SnapshotID{ManagedBy: "b"}, []string{"a", "b"}))
	require.Equal(t, "a", ownerOf(ids.SnapshotID{ManagedBy: "gone"}, []string{"a", "b"}))
	require.Equal(t, "gone", ownerOf(ids.SnapshotID{ManagedBy: "gone"}, nil))
}
