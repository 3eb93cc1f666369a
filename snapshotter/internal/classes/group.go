package classes

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// GroupClass is what a VolumeGroupSnapshotClass says, in any version of its API.
type GroupClass struct {
	metav1.ObjectMeta
	Driver     string
	Parameters map[string]string
}

const (
	// veleroGroupClass is, as in Velero's own CSI support, the label by which a
	// VolumeGroupSnapshotClass offers itself, and with _DRIVER behind it the annotation
	// by which a Backup chooses.
	veleroGroupClass  = "velero.io/csi-volumegroupsnapshot-class"
	defaultGroupClass = "groupsnapshot.storage.kubernetes.io/is-default-class"

	parameterGroupSecretName         = "csi.storage.k8s.io/group-snapshotter-secret-name"      //nolint:gosec // the name of a parameter, no secret
	parameterGroupSecretNamespace    = "csi.storage.k8s.io/group-snapshotter-secret-namespace" //nolint:gosec // the name of a parameter, no secret
	annotationGroupSecretName        = "groupsnapshot.storage.kubernetes.io/deletion-secret-name"
	annotationGroupSecretNamespace   = "groupsnapshot.storage.kubernetes.io/deletion-secret-namespace"
	parameterGroupGetSecretName      = "csi.storage.k8s.io/group-snapshotter-get-secret-name"      //nolint:gosec // the name of a parameter, no secret
	parameterGroupGetSecretNamespace = "csi.storage.k8s.io/group-snapshotter-get-secret-namespace" //nolint:gosec // the name of a parameter, no secret
)

// ForGroup chooses the VolumeGroupSnapshotClass of a driver: the one that the Backup's
// annotation names, the one with Velero's label, the default one, the only one. It is nil
// if the driver has none.
func ForGroup(driver string, backup map[string]string, classes []*GroupClass) (*GroupClass, error) {
	own := slices.DeleteFunc(slices.Clone(classes), func(c *GroupClass) bool { return c.Driver != driver })
	wanted := backup[veleroGroupClass+"_"+strings.ToLower(driver)]
	for _, fits := range []func(*GroupClass) bool{
		func(c *GroupClass) bool { return c.Name == wanted },
		func(c *GroupClass) bool {
			_, has := c.Labels[veleroGroupClass]
			return has && wanted == ""
		},
		func(c *GroupClass) bool {
			return c.Annotations[defaultGroupClass] == "true" && wanted == ""
		},
		func(*GroupClass) bool { return wanted == "" },
	} {
		chosen := slices.DeleteFunc(slices.Clone(own), func(c *GroupClass) bool { return !fits(c) })
		if len(chosen) == 1 {
			return chosen[0], nil
		}
		if len(chosen) > 1 {
			return nil, fmt.Errorf("several VolumeGroupSnapshotClasses are for driver %s, among them %s and %s: label one of them with %s", driver, chosen[0].Name, chosen[1].Name, veleroGroupClass)
		}
	}
	if wanted != "" {
		return nil, fmt.Errorf("no VolumeGroupSnapshotClass %q of driver %s, which the Backup's annotation names", wanted, driver)
	}
	return nil, nil
}

// GroupSecret returns the secret for taking and deleting a group of this class, the zero
// value if it names none. One that a template names is refused: the names that a template
// may use are those of a VolumeGroupSnapshot, which there is not.
func GroupSecret(class *GroupClass) (ids.SecretRef, error) {
	return groupSecret(class, parameterGroupSecretNamespace, parameterGroupSecretName)
}

func groupSecret(class *GroupClass, namespaceKey, nameKey string) (ids.SecretRef, error) {
	secret := ids.SecretRef{Namespace: class.Parameters[namespaceKey], Name: class.Parameters[nameKey]}
	if strings.Contains(secret.Namespace+secret.Name, "${") || (secret.Namespace == "") != (secret.Name == "") {
		return ids.SecretRef{}, fmt.Errorf("VolumeGroupSnapshotClass %s: the parameters %s and %s have to name one secret, without templates", class.Name, namespaceKey, nameKey)
	}
	return secret, nil
}

// GroupDeleteSecret returns the secret with which a group is deleted: the one of the ID if
// a VolumeGroupSnapshotClass of the driver names it or it is among allowed.
func GroupDeleteSecret(id ids.SnapshotID, classes []*GroupClass, allowed []string) (ids.SecretRef, error) {
	secret := id.Group.DeleteSecret
	if secret == (ids.SecretRef{}) || slices.Contains(allowed, secret.String()) {
		return secret, nil
	}
	for _, class := range classes {
		if named, err := GroupSecret(class); err == nil && class.Driver == id.Driver && named == secret {
			return secret, nil
		}
	}
	return ids.SecretRef{}, fmt.Errorf("no VolumeGroupSnapshotClass of driver %s names the secret %s, with which the group was taken: "+
		"name it by a class, or allow it by the setting snapshotSecrets", id.Driver, ids.Short(secret.String()))
}

// GroupAnnotations are the annotations by which a content of a group hands the secret to
// the driver, none for the zero value.
func GroupAnnotations(secret ids.SecretRef) map[string]string {
	if secret == (ids.SecretRef{}) {
		return nil
	}
	return map[string]string{annotationGroupSecretName: secret.Name, annotationGroupSecretNamespace: secret.Namespace}
}

// GroupLookupClass returns the class that a content of the group should name so that the
// driver gets the secret for looking it up, "" if none of the driver has one.
func GroupLookupClass(id ids.SnapshotID, classes []*GroupClass) string {
	best := ""
	for _, class := range classes {
		secret, err := groupSecret(class, parameterGroupGetSecretNamespace, parameterGroupGetSecretName)
		if class.Driver == id.Driver && err == nil && secret != (ids.SecretRef{}) && (best == "" || class.Name == id.Group.Class) {
			best = class.Name
		}
	}
	return best
}
