package ids

import corev1 "k8s.io/api/core/v1"

// SecretRef names a Secret, never its content. The zero value names none.
type SecretRef struct {
	Namespace, Name string
}

func (s SecretRef) String() string {
	if s == (SecretRef{}) {
		return ""
	}
	return s.Namespace + "/" + s.Name
}

// Secrets are those by which a driver makes and uses one volume, by their use, see
// SecretUses; nil if there are none.
type Secrets map[string]SecretRef

// SecretUses are the uses of a volume's secrets, as StorageClass parameters name
// them: csi.storage.k8s.io/USE-secret-name.
var SecretUses = []string{"provisioner", "controller-publish", "node-stage", "node-publish", "controller-expand", "node-expand"}

// csi-provisioner notes here with which secret it will delete the volume.
const (
	annotationProvisionerSecretName      = "volume.kubernetes.io/provisioner-deletion-secret-name"      //nolint:gosec // the name of an annotation, no secret
	annotationProvisionerSecretNamespace = "volume.kubernetes.io/provisioner-deletion-secret-namespace" //nolint:gosec // the name of an annotation, no secret
)

// SecretsOf returns the secrets that a CSI volume's PersistentVolume names.
func SecretsOf(pv *corev1.PersistentVolume) Secrets {
	csi := pv.Spec.CSI
	if csi == nil {
		return nil
	}
	provisioner := &corev1.SecretReference{
		Namespace: pv.Annotations[annotationProvisionerSecretNamespace],
		Name:      pv.Annotations[annotationProvisionerSecretName],
	}
	var secrets Secrets
	for i, ref := range []*corev1.SecretReference{
		provisioner, csi.ControllerPublishSecretRef, csi.NodeStageSecretRef, csi.NodePublishSecretRef, csi.ControllerExpandSecretRef, csi.NodeExpandSecretRef,
	} {
		if ref != nil {
			secrets = secrets.with(SecretUses[i], SecretRef{Namespace: ref.Namespace, Name: ref.Name})
		}
	}
	return secrets
}

// with adds a secret, unless it is not wholly named.
func (s Secrets) with(use string, ref SecretRef) Secrets {
	if ref.Namespace == "" || ref.Name == "" {
		return s
	}
	if s == nil {
		s = Secrets{}
	}
	s[use] = ref
	return s
}
