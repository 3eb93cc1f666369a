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

// Secrets are those by which a driver makes and uses one volume, by their use.
type Secrets struct {
	Provisioner       SecretRef // to make and to delete the volume
	ControllerPublish SecretRef
	NodeStage         SecretRef
	NodePublish       SecretRef
	ControllerExpand  SecretRef
	NodeExpand        SecretRef
}

// csi-provisioner notes here with which secret it will delete the volume.
const (
	annotationProvisionerSecretName      = "volume.kubernetes.io/provisioner-deletion-secret-name"      //nolint:gosec // the name of an annotation, no secret
	annotationProvisionerSecretNamespace = "volume.kubernetes.io/provisioner-deletion-secret-namespace" //nolint:gosec // the name of an annotation, no secret
)

// SecretsOf returns the secrets that a CSI volume's PersistentVolume names.
func SecretsOf(pv *corev1.PersistentVolume) Secrets {
	csi := pv.Spec.CSI
	if csi == nil {
		return Secrets{}
	}
	return Secrets{
		Provisioner: completeRef(&corev1.SecretReference{
			Namespace: pv.Annotations[annotationProvisionerSecretNamespace],
			Name:      pv.Annotations[annotationProvisionerSecretName],
		}),
		ControllerPublish: completeRef(csi.ControllerPublishSecretRef),
		NodeStage:         completeRef(csi.NodeStageSecretRef),
		NodePublish:       completeRef(csi.NodePublishSecretRef),
		ControllerExpand:  completeRef(csi.ControllerExpandSecretRef),
		NodeExpand:        completeRef(csi.NodeExpandSecretRef),
	}
}

func completeRef(ref *corev1.SecretReference) SecretRef {
	if ref == nil || ref.Namespace == "" || ref.Name == "" {
		return SecretRef{}
	}
	return SecretRef{Namespace: ref.Namespace, Name: ref.Name}
}

// namedSecret is one of Secrets with the name of its use, which is also that of
// the StorageClass parameter: csi.storage.k8s.io/USE-secret-name.
type namedSecret struct {
	use string
	ref *SecretRef
}

func (s *Secrets) named() []namedSecret {
	return []namedSecret{
		{"provisioner", &s.Provisioner},
		{"controller-publish", &s.ControllerPublish},
		{"node-stage", &s.NodeStage},
		{"node-publish", &s.NodePublish},
		{"controller-expand", &s.ControllerExpand},
		{"node-expand", &s.NodeExpand},
	}
}

// ByUse returns the secrets that are set by their use, as StorageClass parameters
// name it: "provisioner", "controller-publish", "node-stage", "node-publish",
// "controller-expand", "node-expand".
func (s Secrets) ByUse() map[string]SecretRef {
	set := map[string]SecretRef{}
	for _, n := range s.named() {
		if *n.ref != (SecretRef{}) {
			set[n.use] = *n.ref
		}
	}
	return set
}
