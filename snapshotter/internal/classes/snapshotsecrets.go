package classes

import (
	"cmp"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// Where the snapshot controllers look for a driver's secrets: for a deletion in
// annotations of the content, for looking up a snapshot in the parameters of the
// class that the content names, and nowhere else.
const (
	annotationDeleteSecretName      = "snapshot.storage.kubernetes.io/deletion-secret-name"
	annotationDeleteSecretNamespace = "snapshot.storage.kubernetes.io/deletion-secret-namespace"
	parameterSecretName             = "csi.storage.k8s.io/snapshotter-secret-name"           //nolint:gosec // the name of a parameter, no secret
	parameterSecretNamespace        = "csi.storage.k8s.io/snapshotter-secret-namespace"      //nolint:gosec // the name of a parameter, no secret
	parameterListSecretName         = "csi.storage.k8s.io/snapshotter-list-secret-name"      //nolint:gosec // the name of a parameter, no secret
	parameterListSecretNamespace    = "csi.storage.k8s.io/snapshotter-list-secret-namespace" //nolint:gosec // the name of a parameter, no secret
)

// SnapshotNames are what a VolumeSnapshotClass may name secrets by. An empty one
// is not known.
type SnapshotNames struct {
	Content   string // the VolumeSnapshotContent
	Snapshot  string // the VolumeSnapshot that the content refers to
	Namespace string // of that VolumeSnapshot, which is that of the volume's claim
}

// CreateSecret returns the secret for taking and deleting a snapshot of this
// class, as the snapshot controller resolves it; the zero value if it names none.
func CreateSecret(class *snapshotv1.VolumeSnapshotClass, names SnapshotNames) (ids.SecretRef, error) {
	return snapshotSecret(class, parameterSecretNamespace, parameterSecretName, names)
}

// ListSecret returns the secret for looking up the snapshot of a content of this
// class, as csi-snapshotter resolves it, which allows nothing but the content's
// name; the zero value if it names none.
func ListSecret(class *snapshotv1.VolumeSnapshotClass, content string) (ids.SecretRef, error) {
	return snapshotSecret(class, parameterListSecretNamespace, parameterListSecretName, SnapshotNames{Content: content})
}

func snapshotSecret(class *snapshotv1.VolumeSnapshotClass, namespaceKey, nameKey string, names SnapshotNames) (ids.SecretRef, error) {
	t, err := templateOf(class.Parameters, namespaceKey, nameKey)
	if err == nil && t == nil {
		return ids.SecretRef{}, nil
	}
	var secret ids.SecretRef
	if err == nil {
		namespace := map[string]string{"volumesnapshotcontent.name": names.Content, "volumesnapshot.namespace": names.Namespace}
		name := map[string]string{
			"volumesnapshotcontent.name": names.Content, "volumesnapshot.namespace": names.Namespace, "volumesnapshot.name": names.Snapshot,
		}
		secret, err = t.resolve(namespace, name)
	}
	if err != nil {
		return ids.SecretRef{}, fmt.Errorf("VolumeSnapshotClass %s: %w", class.Name, err)
	}
	return secret, nil
}

// DeleteSecret returns the secret a driver is given to delete a snapshot, the
// zero value if its ID names none. A secret that the ID names is used if a
// VolumeSnapshotClass of the ID's driver names it, or if it is among allowed (the
// setting snapshotSecrets, as namespace/name). Else that of the ID's own class is
// used, for a class whose secret was renamed, and if there is none, it is an error.
func DeleteSecret(id ids.SnapshotID, classes []*snapshotv1.VolumeSnapshotClass, allowed []string) (ids.SecretRef, error) {
	if id.DeleteSecret == (ids.SecretRef{}) || slices.Contains(allowed, id.DeleteSecret.String()) {
		return id.DeleteSecret, nil
	}
	var ofClass ids.SecretRef
	for _, class := range ofDriver(id.Driver, classes) {
		// A class that names secrets by what the ID does not tell names none here.
		secret, _ := CreateSecret(class, SnapshotNames{Namespace: id.Claim.Namespace})
		if secret == id.DeleteSecret {
			return secret, nil
		}
		if class.Name == id.Class {
			ofClass = secret
		}
	}
	if ofClass != (ids.SecretRef{}) {
		return ofClass, nil
	}
	return ids.SecretRef{}, fmt.Errorf("no VolumeSnapshotClass of driver %s names the secret %s, with which the snapshot was taken: "+
		"name it by a class, or allow it by the setting snapshotSecrets", id.Driver, ids.Short(id.DeleteSecret.String()))
}

// DeleteAnnotations are the annotations by which a content hands the secret to
// the driver, none for the zero value.
func DeleteAnnotations(secret ids.SecretRef) map[string]string {
	if secret == (ids.SecretRef{}) {
		return nil
	}
	return map[string]string{annotationDeleteSecretName: secret.Name, annotationDeleteSecretNamespace: secret.Namespace}
}

// DeleteSecretOf returns the secret that a content hands to the driver.
func DeleteSecretOf(content *snapshotv1.VolumeSnapshotContent) ids.SecretRef {
	secret := ids.SecretRef{
		Namespace: content.Annotations[annotationDeleteSecretNamespace],
		Name:      content.Annotations[annotationDeleteSecretName],
	}
	if secret.Namespace == "" || secret.Name == "" {
		return ids.SecretRef{}
	}
	return secret
}

// LookupClass returns the class a content of the snapshot should name so that
// the driver gets the secret for looking it up: that of the backup if it is
// here, else any of the driver with that secret, else any of the driver with
// one. It is nil when no secret is needed or none is to be had: a content that
// names a missing class is never served.
func LookupClass(id ids.SnapshotID, classes []*snapshotv1.VolumeSnapshotClass) *string {
	if id.ListSecret == (ids.SecretRef{}) {
		return nil
	}
	own := ofDriver(id.Driver, classes)
	own = slices.DeleteFunc(own, func(c *snapshotv1.VolumeSnapshotClass) bool { return lookupRank(id, c) == 0 })
	if len(own) == 0 {
		return nil
	}
	best := slices.MaxFunc(own, func(a, b *snapshotv1.VolumeSnapshotClass) int {
		return cmp.Compare(lookupRank(id, a), lookupRank(id, b))
	})
	return &best.Name
}

func lookupRank(id ids.SnapshotID, class *snapshotv1.VolumeSnapshotClass) int {
	secret, err := ListSecret(class, "")
	switch {
	case class.Parameters[parameterListSecretName] == "":
		return 0
	case class.Name == id.Class:
		return 3
	case err == nil && secret == id.ListSecret:
		return 2
	}
	return 1
}
