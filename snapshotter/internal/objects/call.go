// Package objects is about the objects that the snapshotter makes in a cluster:
// their names and labels, whose they are and until when, and the proof that a
// PersistentVolume was made for one of them.
package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Labels and annotations of our objects. Labels of a claim are never copied,
// since GitOps tools take what has theirs for their own, and delete it.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "longshore"
	LabelPurpose   = "longshore.dev/purpose"
	// LabelVelero is the namespace of the Velero whose call made the object.
	LabelVelero = "longshore.dev/velero"
	// LabelLocation tells the locations of one Velero apart: a digest of the config.
	LabelLocation = "longshore.dev/location"
	LabelExclude  = "velero.io/exclude-from-backup"
	// LabelOperation is the ID of the operation by which Velero follows a snapshot
	// whose ID it has been given already.
	LabelOperation = "longshore.dev/operation"

	// AnnotationDeadline is the time (RFC 3339) at which the call that made the
	// object has certainly ended.
	AnnotationDeadline = "longshore.dev/deadline"
	AnnotationBackup   = "longshore.dev/backup"
	AnnotationClaim    = "longshore.dev/claim" // the source's claim, namespace/name
)

// Purpose is what an object is made for.
type Purpose string

// The purposes.
const (
	Snapshot Purpose = "snapshot"
	Restore  Purpose = "restore"
	Delete   Purpose = "delete"
	Journal  Purpose = "journal" // of snapshots that no stored list names yet
	Drivers  Purpose = "drivers" // whose snapshots can be restored at once
	Failure  Purpose = "failure" // of a snapshot that a backup went on without waiting for
	Group    Purpose = "group"   // snapshots of several volumes, taken as one
)

// Owner says whose an object is.
type Owner struct {
	Velero   string // Velero's namespace
	Location string // a digest of the location's config, see Location
}

// Location is the digest that tells locations apart: 10 hexadecimal digits.
func Location(config map[string]string) string {
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(config)) {
		fmt.Fprintf(sum, "%q=%q\n", key, config[key])
	}
	return hex.EncodeToString(sum.Sum(nil))[:10]
}

// Call is one call of Velero: all objects that it makes have its name, labels
// and deadline.
type Call struct {
	Owner
	Purpose  Purpose
	UID      types.UID // random
	Backup   string    // the backup's name, "" if unknown
	Deadline time.Time
}

// NewCall is a call that has certainly ended at the deadline.
func NewCall(owner Owner, purpose Purpose, deadline time.Time) Call {
	return Call{Owner: owner, Purpose: purpose, UID: types.UID(uuid.NewString()), Deadline: deadline}
}

// Name is the name of the call's objects.
func (c Call) Name() string { return namePrefix(c.Purpose) + string(c.UID) }

func namePrefix(p Purpose) string { return "longshore-" + string(p) + "-" }

// Meta is the metadata of an object of the call.
func (c Call) Meta(namespace string, annotations ...map[string]string) metav1.ObjectMeta {
	labels := map[string]string{
		LabelManagedBy: ManagedBy,
		LabelPurpose:   string(c.Purpose),
		LabelVelero:    c.Velero,
		LabelLocation:  c.Location,
		LabelExclude:   "true",
	}
	all := map[string]string{AnnotationDeadline: FormatTime(c.Deadline)}
	if c.Backup != "" {
		all[AnnotationBackup] = c.Backup
	}
	for _, more := range annotations {
		maps.Copy(all, more)
	}
	return metav1.ObjectMeta{Name: c.Name(), Namespace: namespace, Labels: labels, Annotations: all}
}

// Selector selects the objects of the calls of one Velero.
func (o Owner) Selector() string {
	return LabelManagedBy + "=" + ManagedBy + "," + LabelVelero + "=" + o.Velero
}

// NotOurs selects what this plugin did not make.
const NotOurs = LabelManagedBy + "!=" + ManagedBy

// PurposeOf returns what this plugin made an object for, "" if it is not known
// to have made it: the labels, the name and the deadline have to fit together.
func PurposeOf(object metav1.Object) Purpose {
	purpose := Purpose(object.GetLabels()[LabelPurpose])
	uid, named := strings.CutPrefix(object.GetName(), namePrefix(purpose))
	_, err := DeadlineOf(object)
	if object.GetLabels()[LabelManagedBy] != ManagedBy || err != nil || !named || uuid.Validate(uid) != nil {
		return ""
	}
	return purpose
}

// IsRestoreClass tells whether the name is that of a StorageClass which a restore has
// made for itself.
func IsRestoreClass(name string) bool {
	uid, named := strings.CutPrefix(name, namePrefix(Restore))
	return named && uuid.Validate(uid) == nil
}

// DeadlineOf returns when the call that made the object has certainly ended.
func DeadlineOf(object metav1.Object) (time.Time, error) {
	return time.Parse(time.RFC3339, object.GetAnnotations()[AnnotationDeadline])
}

// FormatTime writes a time as the annotations have it, in whole seconds.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
