package snapshotter

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// Labels and annotations of the objects this package makes. By the label of
// their purpose leftovers are found; labels of a claim are never copied, since
// GitOps tools take what bears them for their own, and prune it.
const (
	labelManagedBy  = "app.kubernetes.io/managed-by"
	managedByUs     = "longshore"
	labelPurpose    = "longshore.dev/purpose"
	labelRequest    = "longshore.dev/request" // one name for all objects of a call
	labelBackupName = "velero.io/backup-name" // by it Velero finds snapshots of a lost backup
	labelExclude    = "velero.io/exclude-from-backup"

	annotationBackup = "longshore.dev/backup"
	annotationClaim  = "longshore.dev/claim"  // the source's claim, namespace/name
	annotationVolume = "longshore.dev/volume" // the source's volume ID, or the snapshot's ID

	// annotationHandedOver is on a staging PersistentVolume whose volume Velero
	// was given, and names the PersistentVolume it was given for.
	annotationHandedOver = "longshore.dev/handed-over"
)

// The purposes an object is made for.
const (
	purposeSnapshot = "snapshot"
	purposeRestore  = "restore"
	purposeDelete   = "delete"
)

// request is the mark of one piece of work, on all of its objects.
type request struct {
	name    string
	purpose string
	backup  string // the backup's name, if known
	subject string // the ID of what the work is about
}

// snapshotRequest names the snapshot of a volume for a backup. The name derives
// from both, so that a repeated call finds the work of the first.
func snapshotRequest(id ids.VolumeID, b backup) request {
	return request{
		name:    "longshore-" + digest(id.String(), b.key()),
		purpose: purposeSnapshot,
		backup:  b.name,
		subject: id.String(),
	}
}

// restorePrefix begins the name of every staging claim. The PersistentVolume of
// one is known by it even before it is labelled.
const restorePrefix = "longshore-restore-"

// restoreRequest names the restore of a snapshot. unique tells it from another
// restore of the same snapshot.
func restoreRequest(id ids.SnapshotID, unique string) request {
	return request{name: restorePrefix + unique, purpose: purposeRestore, subject: id.String()}
}

// deleteRequest names the deletion of a snapshot, one for all who ask for it.
func deleteRequest(id ids.SnapshotID) request {
	return request{name: "longshore-delete-" + digest(id.Driver, id.Handle), purpose: purposeDelete, subject: id.String()}
}

func (r request) labels() map[string]string {
	labels := map[string]string{
		labelManagedBy: managedByUs,
		labelPurpose:   r.purpose,
		labelRequest:   r.name,
		labelExclude:   "true",
	}
	if r.backup != "" {
		labels[labelBackupName] = labelValue(r.backup)
	}
	return labels
}

func (r request) annotations() map[string]string {
	annotations := map[string]string{annotationVolume: r.subject}
	if r.backup != "" {
		annotations[annotationBackup] = r.backup
	}
	return annotations
}

// meta is the metadata of an object of this request.
func (r request) meta(namespace string, annotations ...map[string]string) metav1.ObjectMeta {
	all := r.annotations()
	for _, more := range annotations {
		maps.Copy(all, more)
	}
	return metav1.ObjectMeta{Name: r.name, Namespace: namespace, Labels: r.labels(), Annotations: all}
}

// made tells whether an object is this request's own, not one that merely has
// its name.
func (r request) made(object metav1.Object) bool {
	return object.GetLabels()[labelRequest] == r.name && object.GetLabels()[labelPurpose] == r.purpose
}

// purposeOf returns what this package made an object for, "" if it did not.
func purposeOf(object metav1.Object) string {
	if object.GetLabels()[labelManagedBy] != managedByUs {
		return ""
	}
	return object.GetLabels()[labelPurpose]
}

// digest is a name for a list of words: 20 hexadecimal digits.
func digest(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:10])
}

// labelValue is name as Velero writes it into a label: whole if it fits, else
// cut and ended by six digits of its digest.
func labelValue(name string) string {
	const longest = 63
	if len(name) <= longest {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:longest-6] + hex.EncodeToString(sum[:])[:6]
}
