package ids

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestSecretsOf(t *testing.T) {
	ref := func(s SecretRef) *corev1.SecretReference {
		return &corev1.SecretReference{Namespace: s.Namespace, Name: s.Name}
	}
	pv := &corev1.PersistentVolume{}
	require.Zero(t, SecretsOf(pv))
	pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{NodeStageSecretRef: &corev1.SecretReference{Name: "without a namespace"}}
	require.Zero(t, SecretsOf(pv))
	pv.Annotations = map[string]string{annotationProvisionerSecretName: "provisioner", annotationProvisionerSecretNamespace: "rook-ceph"}
	pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{
		ControllerPublishSecretRef: ref(allSecrets.ControllerPublish),
		NodeStageSecretRef:         ref(allSecrets.NodeStage),
		NodePublishSecretRef:       ref(allSecrets.NodePublish),
		ControllerExpandSecretRef:  ref(allSecrets.ControllerExpand),
		NodeExpandSecretRef:        ref(allSecrets.NodeExpand),
	}
	require.Equal(t, allSecrets, SecretsOf(pv))
	require.Len(t, allSecrets.ByUse(), 6)
	require.Equal(t, map[string]SecretRef{"node-stage": {Namespace: "a", Name: "b"}}, Secrets{NodeStage: SecretRef{Namespace: "a", Name: "b"}}.ByUse())
}
