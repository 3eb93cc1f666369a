package classes

import (
	"fmt"
	"maps"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// secretParameters are the pairs of StorageClass parameters by which csi-provisioner
// finds the secrets of a volume: one for each use, those of the time before their
// prefix, and one for all uses that have none of their own.
func secretParameters() []volumeSecret {
	const prefix = "csi.storage.k8s.io/"
	parameters := []volumeSecret{
		{"provisioner", "csiProvisionerSecretNamespace", "csiProvisionerSecretName"},
		{"controller-publish", "csiControllerPublishSecretNamespace", "csiControllerPublishSecretName"},
		{"node-stage", "csiNodeStageSecretNamespace", "csiNodeStageSecretName"},
		{"node-publish", "csiNodePublishSecretNamespace", "csiNodePublishSecretName"},
		{"", prefix + "secret-namespace", prefix + "secret-name"},
	}
	for _, use := range []string{"provisioner", "controller-publish", "node-stage", "node-publish", "controller-expand", "node-expand", "controller-modify"} {
		parameters = append(parameters, volumeSecret{use, prefix + use + "-secret-namespace", prefix + use + "-secret-name"})
	}
	return parameters
}

type volumeSecret struct {
	use                   string // as in ids.SecretUses, "" for all
	namespaceKey, nameKey string
}

// VolumeParameters returns the parameters of a class with which to make a volume
// from the snapshot, to stand in the restore's own copy of the class.
//
// Where the class names a secret by the claim or the PersistentVolume
// (${pvc.name}, ${pvc.namespace}, ${pvc.annotations['x']}, ${pv.name}), csi-provisioner
// would resolve that by the claim of the restore, for which nobody has made a
// secret. So these parameters come resolved as they are for the volume that the
// snapshot was taken of. The value of an annotation is not known, but the secret
// that the volume had: it is used if the rest of the name fits.
//
// The error says which parameter needs what the snapshot's ID does not tell.
func VolumeParameters(class *storagev1.StorageClass, id ids.SnapshotID) (map[string]string, error) {
	resolved := maps.Clone(class.Parameters)
	for _, s := range secretParameters() {
		t, err := templateOf(class.Parameters, s.namespaceKey, s.nameKey)
		if err == nil && t != nil && !t.isFixed() {
			var secret ids.SecretRef
			if secret, err = s.resolve(t, id); err == nil {
				resolved[s.namespaceKey], resolved[s.nameKey] = secret.Namespace, secret.Name
			}
		}
		if err != nil {
			return nil, fmt.Errorf("StorageClass %s: %w", class.Name, err)
		}
	}
	return resolved, nil
}

func (s volumeSecret) resolve(t *template, id ids.SnapshotID) (ids.SecretRef, error) {
	namespace := map[string]string{"pv.name": id.PV, "pvc.namespace": id.Claim.Namespace}
	name := map[string]string{"pv.name": id.PV, "pvc.namespace": id.Claim.Namespace, "pvc.name": id.Claim.Name}
	secret, err := t.resolve(namespace, name)
	if err == nil {
		return secret, nil
	}
	for _, use := range ids.SecretUses {
		former := id.Secrets[use]
		if (s.use == "" || s.use == use) && fits(t.namespace, former.Namespace, namespace) && fits(t.name, former.Name, name) {
			return former, nil
		}
	}
	return ids.SecretRef{}, fmt.Errorf("%w: the snapshot's ID does not tell it, nor a secret that fits; "+
		"map the class to one that names its secrets otherwise, by the setting storageClass.OLD", err)
}
