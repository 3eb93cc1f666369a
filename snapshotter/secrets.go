package snapshotter

import (
	"fmt"
	"strings"

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

// createSecretOf returns the secret for taking and deleting a snapshot of this
// class, with the names that the class leaves open filled in as the snapshot
// controller does.
func createSecretOf(class *snapshotv1.VolumeSnapshotClass, name, namespace string) (ids.SecretRef, error) {
	expand := strings.NewReplacer(
		"${volumesnapshotcontent.name}", name,
		"${volumesnapshot.name}", name,
		"${volumesnapshot.namespace}", namespace,
	).Replace
	ref := ids.SecretRef{
		Namespace: expand(class.Parameters[parameterSecretNamespace]),
		Name:      expand(class.Parameters[parameterSecretName]),
	}
	if (ref.Namespace == "") != (ref.Name == "") || strings.Contains(ref.String(), "${") {
		return ids.SecretRef{}, fmt.Errorf("VolumeSnapshotClass %s names its secret by %q and %q, which cannot be resolved",
			class.Name, class.Parameters[parameterSecretNamespace], class.Parameters[parameterSecretName])
	}
	return ref, nil
}

func deleteSecretOf(content *snapshotv1.VolumeSnapshotContent) ids.SecretRef {
	return secretRef(content.Annotations[annotationDeleteSecretNamespace], content.Annotations[annotationDeleteSecretName])
}

// listSecretOf returns the secret for looking up the snapshot of a content of
// this class. The controllers allow the content's name in it.
func listSecretOf(class *snapshotv1.VolumeSnapshotClass, content string) ids.SecretRef {
	expand := strings.NewReplacer("${volumesnapshotcontent.name}", content).Replace
	return secretRef(expand(class.Parameters[parameterListSecretNamespace]), expand(class.Parameters[parameterListSecretName]))
}

func secretRef(namespace, name string) ids.SecretRef {
	if namespace == "" || name == "" {
		return ids.SecretRef{}
	}
	return ids.SecretRef{Namespace: namespace, Name: name}
}

// deleteAnnotations are the annotations by which a content hands the secret to
// the driver.
func deleteAnnotations(s ids.SecretRef) map[string]string {
	if s == (ids.SecretRef{}) {
		return nil
	}
	return map[string]string{annotationDeleteSecretName: s.Name, annotationDeleteSecretNamespace: s.Namespace}
}

// lookupClass returns the class a content of the snapshot should name so that
// the driver gets the secret for looking it up: that of the backup if it is
// here, else any of the driver with that secret, else any of the driver with
// one. It is nil when no secret is needed or none is to be had: a content that
// names a missing class is never served.
func lookupClass(id ids.SnapshotID, classes []snapshotv1.VolumeSnapshotClass) *string {
	if id.ListSecret == (ids.SecretRef{}) {
		return nil
	}
	own := ofDriver(id.Driver, classes)
	var best *string
	bestRank := 0
	for i := range own {
		if rank := lookupRank(id, &own[i]); rank > bestRank {
			best, bestRank = &own[i].Name, rank
		}
	}
	return best
}

func lookupRank(id ids.SnapshotID, class *snapshotv1.VolumeSnapshotClass) int {
	secret := listSecretOf(class, "")
	switch {
	case secret == ids.SecretRef{}:
		return 0
	case class.Name == id.Class:
		return 3
	case secret == id.ListSecret:
		return 2
	}
	return 1
}
