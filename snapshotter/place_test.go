package snapshotter

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// TestNarrowedOnce: a class may say a place twice, and a StorageClass with the same term
// twice is refused.
func TestNarrowedOnce(t *testing.T) {
	zones := func(values ...string) corev1.TopologySelectorTerm {
		return corev1.TopologySelectorTerm{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: "zone", Values: values}}}
	}
	volume := ids.TopologyOf(&corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"b"}}},
	}}}})
	require.Equal(t, []corev1.TopologySelectorTerm{zones("b")}, narrowed(volume, []corev1.TopologySelectorTerm{zones("a", "b"), zones("b", "c")}))
	require.Empty(t, narrowed(volume, []corev1.TopologySelectorTerm{zones("a")}))
}
