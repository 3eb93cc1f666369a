package snapshotter

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// choosePlaces sets where the volume may be: first where the old one could be
// reached, since a snapshot that lives on a node or in a zone can be restored
// nowhere else; then wherever the class allows, since a snapshot that was copied
// to another cluster knows none of its nodes. The driver has the last word. It
// also chooses the node whose sidecar serves the snapshot.
func (r *restoration) choosePlaces(ctx context.Context) error {
	r.places = [][]corev1.TopologySelectorTerm{r.class.AllowedTopologies}
	if len(r.id.Topology) == 0 && r.id.ManagedBy == "" {
		return nil
	}
	nodes, err := r.nodesWith(ctx, r.id.Driver)
	if err != nil {
		return err
	}
	within := slices.DeleteFunc(slices.Clone(nodes), func(n *corev1.Node) bool { return !r.id.Topology.Matches(n) })
	r.node = sidecarOf(r.id.ManagedBy, within, nodes)
	narrow := narrowed(r.id.Topology, r.class.AllowedTopologies)
	switch {
	case len(r.id.Topology) == 0 || len(narrow) == 0:
	case len(within) == 0:
		r.log.WithField("topology", r.id.Topology).Warn("no node is where the snapshot's volume was; the driver may make the volume elsewhere")
	default:
		r.places = slices.Insert(r.places, 0, narrow)
	}
	return nil
}

// sidecarOf returns the node whose sidecar should serve a snapshot: the one that
// did, or the best of those there are. It is "" for a driver with one for all.
func sidecarOf(before string, within, all []*corev1.Node) string {
	if before == "" || slices.ContainsFunc(all, func(n *corev1.Node) bool { return n.Name == before }) {
		return before
	}
	if best := slices.Concat(within, all); len(best) > 0 {
		return best[0].Name
	}
	return before
}

// narrowed is the topology within what a class allows, nil if they have nothing in
// common or the topology cannot be said by labels.
func narrowed(topology ids.Topology, allowed []corev1.TopologySelectorTerm) []corev1.TopologySelectorTerm {
	if len(allowed) == 0 {
		allowed = []corev1.TopologySelectorTerm{{}}
	}
	var terms []corev1.TopologySelectorTerm
	for _, term := range topology {
		values, ok := labelValues(term)
		if !ok {
			return nil
		}
		for _, class := range allowed {
			both, ok := intersect(values, class)
			if same := func(t corev1.TopologySelectorTerm) bool { return equality.Semantic.DeepEqual(t, both) }; ok && !slices.ContainsFunc(terms, same) {
				terms = append(terms, both) // the API refuses one that is there twice
			}
		}
	}
	return terms
}

// labelValues are the conditions of a term as a StorageClass says them; not ok if
// it has others than labels with values.
func labelValues(term ids.Term) (values []corev1.TopologySelectorLabelRequirement, ok bool) {
	for _, r := range term {
		if r.Field || r.Operator != corev1.NodeSelectorOpIn {
			return nil, false
		}
		values = append(values, corev1.TopologySelectorLabelRequirement{Key: r.Key, Values: r.Values})
	}
	return values, len(values) > 0
}

// intersect joins two terms; not ok if no node can meet both.
func intersect(values []corev1.TopologySelectorLabelRequirement, class corev1.TopologySelectorTerm) (corev1.TopologySelectorTerm, bool) {
	joined := slices.Clone(values)
	for _, e := range class.MatchLabelExpressions {
		i := slices.IndexFunc(joined, func(r corev1.TopologySelectorLabelRequirement) bool { return r.Key == e.Key })
		if i < 0 {
			joined = append(joined, e)
			continue
		}
		common := slices.DeleteFunc(slices.Clone(joined[i].Values), func(v string) bool { return !slices.Contains(e.Values, v) })
		if len(common) == 0 {
			return corev1.TopologySelectorTerm{}, false
		}
		joined[i].Values = common
	}
	return corev1.TopologySelectorTerm{MatchLabelExpressions: joined}, true
}

// nodesWith lists the nodes that have the driver, those fit to run pods first.
func (s *Snapshotter) nodesWith(ctx context.Context, driver string) ([]*corev1.Node, error) {
	csiNodes, err := s.kube.CSINodes.List(ctx, "")
	if err != nil {
		return nil, err
	}
	nodes, err := s.kube.Nodes.List(ctx, "")
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(nodes, func(n *corev1.Node) bool {
		return !slices.ContainsFunc(csiNodes, func(c *storagev1.CSINode) bool {
			return c.Name == n.Name && slices.ContainsFunc(c.Spec.Drivers, func(d storagev1.CSINodeDriver) bool { return d.Name == driver })
		})
	})
	slices.SortStableFunc(nodes, func(a, b *corev1.Node) int {
		return cmp.Or(cmp.Compare(unfit(a), unfit(b)), cmp.Compare(a.Name, b.Name))
	})
	return nodes, nil
}

// unfit is 0 for a node that is ready and takes pods.
func unfit(n *corev1.Node) int {
	ready := func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	}
	if slices.ContainsFunc(n.Status.Conditions, ready) && !n.Spec.Unschedulable {
		return 0
	}
	return 1
}

// sidecarNode returns the node whose sidecar is in charge of a volume, for drivers
// with a sidecar on each node: the one node from which the volume can be reached.
// It is "" for a volume of a zone or of the whole cluster.
func (s *Snapshotter) sidecarNode(ctx context.Context, pv *corev1.PersistentVolume) (string, error) {
	topology := ids.TopologyOf(pv.Spec.NodeAffinity)
	if len(topology) == 0 || topology.OnlyZones() {
		return "", nil
	}
	nodes, err := s.kube.Nodes.List(ctx, "")
	if err != nil {
		return "", err
	}
	reach := slices.DeleteFunc(nodes, func(n *corev1.Node) bool { return !topology.Matches(n) })
	if len(reach) != 1 {
		return "", nil
	}
	return reach[0].Name, nil
}
