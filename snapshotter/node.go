package snapshotter

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// placement says where a new volume should be.
type placement struct {
	driver   string
	topology ids.Topology // of the volume the snapshot was taken of
	zone     string       // as Velero noted it, "" if it did not
	allowed  []corev1.TopologySelectorTerm
}

// nodesFor lists the nodes that can stand for a new volume's place, the best
// first. Those that the old volume could be reached from come before all others:
// a snapshot that lives on a node or in a zone can be restored nowhere else.
// Other nodes follow, since a snapshot that was copied to another cluster knows
// none of its nodes; the driver has the last word.
func (s *Snapshotter) nodesFor(ctx context.Context, p placement) (within, beyond []string, err error) {
	csiNodes, err := s.csiNodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.NodeList, error) {
		return s.kube.Nodes().List(ctx, metav1.ListOptions{})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list Nodes: %w", err)
	}
	within, beyond = p.sort(nodes.Items, csiNodes)
	return within, beyond, nil
}

func (p placement) sort(nodes []corev1.Node, csiNodes []storagev1.CSINode) (within, beyond []string) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n corev1.Node) bool {
		return !hasDriver(csiNodes, n.Name, p.driver) || !allows(p.allowed, n.Labels)
	})
	slices.SortStableFunc(nodes, func(a, b corev1.Node) int {
		return cmp.Or(cmp.Compare(p.demerits(&a), p.demerits(&b)), cmp.Compare(a.Name, b.Name))
	})
	for i := range nodes {
		if p.topology.Matches(&nodes[i]) {
			within = append(within, nodes[i].Name)
		} else {
			beyond = append(beyond, nodes[i].Name)
		}
	}
	return within, beyond
}

// demerits puts a node in the volume's zone, fit to run pods, first.
func (p placement) demerits(n *corev1.Node) int {
	demerits := 0
	if p.zone != "" && n.Labels[corev1.LabelTopologyZone] != p.zone {
		demerits += 4
	}
	if !isReadyNode(n) {
		demerits += 2
	}
	if n.Spec.Unschedulable {
		demerits++
	}
	return demerits
}

func isReadyNode(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func hasDriver(csiNodes []storagev1.CSINode, node, driver string) bool {
	return slices.ContainsFunc(csiNodes, func(n storagev1.CSINode) bool {
		return n.Name == node && slices.Contains(driversOn([]storagev1.CSINode{n}), driver)
	})
}

// allows tells whether a storage class may make volumes for a node with these
// labels.
func allows(terms []corev1.TopologySelectorTerm, labels map[string]string) bool {
	return len(terms) == 0 || slices.ContainsFunc(terms, func(term corev1.TopologySelectorTerm) bool {
		return !slices.ContainsFunc(term.MatchLabelExpressions, func(e corev1.TopologySelectorLabelRequirement) bool {
			return !slices.Contains(e.Values, labels[e.Key])
		})
	})
}

// ownerNode returns the node whose sidecar is in charge of a volume, for drivers
// with a sidecar on each node: the one node from which the volume can be
// reached. It is "" for a volume of a zone or of the whole cluster.
func (s *Snapshotter) ownerNode(ctx context.Context, pv *corev1.PersistentVolume) (string, error) {
	topology := ids.TopologyOf(pv.Spec.NodeAffinity)
	if len(topology) == 0 || topology.OnlyZones() {
		return "", nil
	}
	nodes, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.NodeList, error) {
		return s.kube.Nodes().List(ctx, metav1.ListOptions{})
	})
	if err != nil {
		return "", fmt.Errorf("list Nodes: %w", err)
	}
	reach := slices.DeleteFunc(nodes.Items, func(n corev1.Node) bool { return !topology.Matches(&n) })
	if len(reach) != 1 {
		return "", nil
	}
	return reach[0].Name, nil
}
