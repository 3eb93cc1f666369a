package ids

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTopologyMatches(t *testing.T) {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:   "n",
		Labels: map[string]string{corev1.LabelTopologyZone: "zone-a", "kubernetes.io/hostname": "n"},
	}}
	for text, want := range map[string]bool{
		"topology.kubernetes.io/zone:zone-a":                          true,
		"topology.kubernetes.io/zone:zone-b,zone-a":                   true,
		"topology.kubernetes.io/zone:zone-b":                          false,
		"topology.kubernetes.io/zone:zone-a+kubernetes.io/hostname:m": false,
		"topology.kubernetes.io/zone:NotIn:zone-b":                    true,
		"missing:NotIn:x":                true,
		"missing:Exists:":                false,
		"missing:DoesNotExist:":          true,
		"kubernetes.io/hostname:Exists:": true,
		"@metadata.name:n":               true,
		"@metadata.name:m":               false,
		"kubernetes.io/hostname:Gt:1":    false,
	} {
		term, err := parseTerm(text)
		require.NoError(t, err)
		require.Equal(t, want, Topology{term}.Matches(&n), text)
	}
	require.True(t, Topology(nil).Matches(&n))
	require.True(t, Topology{{{Key: "x", Operator: corev1.NodeSelectorOpExists}}, zoneA[0]}.Matches(&n), "one term is enough")
	inZone := corev1.NodeSelectorRequirement{Key: zoneA[0][0].Key, Operator: corev1.NodeSelectorOpIn, Values: zoneA[0][0].Values}
	require.Equal(t, zoneA, TopologyOf(&corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
		{MatchExpressions: []corev1.NodeSelectorRequirement{inZone}}, {}, // a term without conditions matches no node
	}}}))
	require.True(t, zoneA.OnlyZones())
	require.False(t, Topology{{{Key: "kubernetes.io/hostname", Operator: corev1.NodeSelectorOpIn}}}.OnlyZones())
}
