package classes

import (
	"fmt"
	"maps"
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
	var secret ids.SecretRef
	t, err := templateOf(class.Parameters, namespaceKey, nameKey)
	if err == nil && t != nil {
		inBoth := map[string]string{"volumesnapshotcontent.name": names.Content, "volumesnapshot.namespace": names.Namespace}
		inName := maps.Clone(inBoth)
		inName["volumesnapshot.name"] = names.Snapshot
		secret, err = t.resolve(inBoth, inName)
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

// DeleteSecretOf returns the secret that DeleteAnnotations gave to a content.
func DeleteSecretOf(content *snapshotv1.VolumeSnapshotContent) ids.SecretRef {
	return ids.SecretRef{Namespace: content.Annotations[annotationDeleteSecretNamespace], Name: content.Annotations[annotationDeleteSecretName]}
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
	own := slices.DeleteFunc(ofDriver(id.Driver, classes), func(c *snapshotv1.VolumeSnapshotClass) bool { return c.Parameters[parameterListSecretName] == "" })
	for _, fits := range []func(c *snapshotv1.VolumeSnapshotClass) bool{
		func(c *snapshotv1.VolumeSnapshotClass) bool { return c.Name == id.Class },
		func(c *snapshotv1.VolumeSnapshotClass) bool {
			secret, err := ListSecret(c, "")
			return err == nil && secret == id.ListSecret
		},
		func(*snapshotv1.VolumeSnapshotClass) bool { return true },
	} {
		if i := slices.IndexFunc(own, fits); i >= 0 {
			return &own[i].Name
		}
	}
	return nil
}
