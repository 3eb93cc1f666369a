package ids

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Topology says from which nodes a volume can be reached: from those that any
// of the terms matches. An empty Topology is every node.
type Topology []Term

// Term is one way to be reachable: a node has to meet all of it.
type Term []Requirement

// Requirement is one condition on a node.
type Requirement struct {
	Field    bool // Key is a field of the node, such as metadata.name, not a label
	Key      string
	Operator corev1.NodeSelectorOperator
	Values   []string
}

// TopologyOf returns the topology of a PersistentVolume.
func TopologyOf(affinity *corev1.VolumeNodeAffinity) Topology {
	if affinity == nil || affinity.Required == nil {
		return nil
	}
	var topology Topology
	for _, t := range affinity.Required.NodeSelectorTerms {
		term := append(requirements(t.MatchExpressions, false), requirements(t.MatchFields, true)...)
		if len(term) > 0 { // Kubernetes lets a term without conditions match no node
			topology = append(topology, term)
		}
	}
	return topology
}

func requirements(from []corev1.NodeSelectorRequirement, field bool) Term {
	var term Term
	for _, r := range from {
		term = append(term, Requirement{Field: field, Key: r.Key, Operator: r.Operator, Values: r.Values})
	}
	return term
}

// Matches tells whether the volume can be reached from the node.
func (t Topology) Matches(node *corev1.Node) bool {
	return len(t) == 0 || slices.ContainsFunc(t, func(term Term) bool { return term.matches(node) })
}

func (t Term) matches(node *corev1.Node) bool {
	return !slices.ContainsFunc(t, func(r Requirement) bool { return !r.matches(node) })
}

func (r Requirement) matches(node *corev1.Node) bool {
	value, present := node.Labels[r.Key]
	if r.Field {
		value, present = node.Name, r.Key == "metadata.name"
	}
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return present && slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpNotIn:
		return !slices.Contains(r.Values, value) || !present
	case corev1.NodeSelectorOpExists:
		return present
	case corev1.NodeSelectorOpDoesNotExist:
		return !present
	}
	return false // Gt and Lt compare numbers, which no driver's topology does
}

// ZoneLabels are those by which the scheduler, too, takes a volume's place.
var ZoneLabels = []string{
	corev1.LabelTopologyZone, corev1.LabelTopologyRegion,
	corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion,
}

// OnlyZones tells whether the topology speaks of zones and regions alone.
func (t Topology) OnlyZones() bool {
	return !slices.ContainsFunc(t, func(term Term) bool {
		return slices.ContainsFunc(term, func(r Requirement) bool { return r.Field || !slices.Contains(ZoneLabels, r.Key) })
	})
}
