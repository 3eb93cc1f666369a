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
		ControllerPublishSecretRef: ref(allSecrets["controller-publish"]),
		NodeStageSecretRef:         ref(allSecrets["node-stage"]),
		NodePublishSecretRef:       ref(allSecrets["node-publish"]),
		ControllerExpandSecretRef:  ref(allSecrets["controller-expand"]),
		NodeExpandSecretRef:        ref(allSecrets["node-expand"]),
	}
	require.Equal(t, allSecrets, SecretsOf(pv))
}
