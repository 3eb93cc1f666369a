package backups

import (
	"maps"
	"slices"
	"time"
)

// Backup is velero-backup.json, as far as it is read here. Velero writes times in
// RFC 3339 and leaves zero values out.
type Backup struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		UID         string            `json:"uid"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		IncludedNamespaces []string `json:"includedNamespaces"`
		StorageLocation    string   `json:"storageLocation"`
	} `json:"spec"`
	Status Status `json:"status"`
}

// Status is what came of a backup.
type Status struct {
	Phase               string     `json:"phase"`
	FormatVersion       string     `json:"formatVersion"`
	StartTimestamp      *time.Time `json:"startTimestamp"`
	CompletionTimestamp *time.Time `json:"completionTimestamp"`
	Expiration          *time.Time `json:"expiration"`
	FailureReason       string     `json:"failureReason"`
	ValidationErrors    []string   `json:"validationErrors"`
	Warnings            int        `json:"warnings"`
	Errors              int        `json:"errors"`
	SnapshotsAttempted  int        `json:"volumeSnapshotsAttempted"`
	SnapshotsCompleted  int        `json:"volumeSnapshotsCompleted"`
	OperationsAttempted int        `json:"backupItemOperationsAttempted"`
	OperationsFailed    int        `json:"backupItemOperationsFailed"`
	// CSISnapshotsCompleted are those that Velero took itself.
	CSISnapshotsCompleted int       `json:"csiVolumeSnapshotsCompleted"`
	HookStatus            *struct{} `json:"hookStatus"`
	Progress              *struct {
		ItemsBackedUp int `json:"itemsBackedUp"`
	} `json:"progress"`
}

// The phases from which Velero restores.
const (
	PhaseCompleted       = "Completed"
	PhasePartiallyFailed = "PartiallyFailed"
)

// Finished tells whether Velero does nothing more to a backup or a restore in a phase.
func Finished(phase string) bool {
	return slices.Contains([]string{PhaseCompleted, PhasePartiallyFailed, "Failed", "FailedValidation"}, phase)
}

// Schedule is the name of the Schedule that made the backup, if one did.
func (b *Backup) Schedule() string { return b.Metadata.Labels["velero.io/schedule-name"] }

// Before113 tells whether a Velero before 1.13 made the backup. From then on each has a
// hookStatus, and a list of its volumes.
func (b *Backup) Before113() bool { return b.Status.HookStatus == nil }

// Expired tells whether Velero deletes the backup when it next looks for old ones.
func (b *Backup) Expired() bool {
	return b.Status.Expiration != nil && b.Status.Expiration.Before(time.Now())
}

// Restorable tells whether Velero restores from a backup in this phase.
func (b *Backup) Restorable() bool {
	return b.Status.Phase == PhaseCompleted || b.Status.Phase == PhasePartiallyFailed
}

// ResourceList names all items of a backup: NAMESPACE/NAME, or NAME, by
// APIVERSION/KIND.
type ResourceList map[string][]string

// Snapshot is a native snapshot of a volume.
type Snapshot struct {
	Spec struct {
		BackupName       string `json:"backupName"`
		BackupUID        string `json:"backupUID"`
		Location         string `json:"location"`
		PersistentVolume string `json:"persistentVolumeName"`
		VolumeID         string `json:"providerVolumeID"`
		VolumeType       string `json:"volumeType"` // as the plugin called it: our volumes' StorageClass
	} `json:"spec"`
	Status struct {
		ID    string `json:"providerSnapshotID"`
		Phase string `json:"phase"`
	} `json:"status"`
}

// Volume is what a backup says of one volume.
type Volume struct {
	ClaimNamespace string `json:"pvcNamespace"`
	ClaimName      string `json:"pvcName"`
	Name           string `json:"pvName"`
	// Method is NativeSnapshot, CSISnapshot or PodVolumeBackup, "" if the volume
	// was skipped.
	Method        string `json:"backupMethod"`
	DataMoved     bool   `json:"snapshotDataMoved"`
	Skipped       bool   `json:"skipped"`
	SkippedReason string `json:"skippedReason"`
	Result        string `json:"result"` // "succeeded" or "failed"; "" where Velero does not know yet
	Native        *struct {
		Handle string `json:"snapshotHandle"`
		Phase  string `json:"Phase"`
	} `json:"nativeSnapshotInfo"`
	CSI *struct {
		Handle string `json:"snapshotHandle"`
		Driver string `json:"driver"`
		Size   int64  `json:"size"` // in bytes
	} `json:"csiSnapshotInfo"`
	Moved *struct {
		Mover  string `json:"dataMover"` // "" or "velero" for Velero's own
		Handle string `json:"snapshotHandle"`
		Size   int64  `json:"size"` // in bytes
		Phase  string `json:"Phase"`
	} `json:"snapshotDataMovementInfo"`
	PodVolume *struct {
		Handle    string `json:"snapshotHandle"`
		Size      int64  `json:"size"` // in bytes
		Volume    string `json:"volumeName"`
		Pod       string `json:"podName"`
		Namespace string `json:"podNamespace"`
		Phase     string `json:"Phase"`
	} `json:"pvbInfo"`
}

// The methods by which Velero saves a volume.
const (
	MethodNative    = "NativeSnapshot"
	MethodCSI       = "CSISnapshot"
	MethodPodVolume = "PodVolumeBackup"
)

// PodVolume is a PodVolumeBackup: a volume saved file by file.
type PodVolume struct {
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Volume   string `json:"volume"`
		Uploader string `json:"uploaderType"` // "kopia", "restic", "" for restic
		Pod      struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"pod"`
	} `json:"spec"`
	Status struct {
		Phase      string `json:"phase"`
		SnapshotID string `json:"snapshotID"`
	} `json:"status"`
}

// Operation is what a plugin did after the items had been saved.
type Operation struct {
	Spec struct {
		BackupName string `json:"backupName"`
		BackupUID  string `json:"backupUID"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
		Error string `json:"error"`
	} `json:"status"`
}

// Messages are what was said of one severity.
type Messages struct {
	Velero     []string            `json:"velero,omitempty"`
	Cluster    []string            `json:"cluster,omitempty"`
	Namespaces map[string][]string `json:"namespaces,omitempty"`
}

// Count is how many there are.
func (m Messages) Count() int {
	n := len(m.Velero) + len(m.Cluster)
	for _, of := range m.Namespaces {
		n += len(of)
	}
	return n
}

// All are the messages, those of Velero first.
func (m Messages) All() []string {
	all := slices.Concat(m.Velero, m.Cluster)
	for _, namespace := range slices.Sorted(maps.Keys(m.Namespaces)) {
		all = append(all, m.Namespaces[namespace]...)
	}
	return all
}

// Results are the errors and warnings of a backup or a restore.
type Results struct {
	Errors   Messages `json:"errors"`
	Warnings Messages `json:"warnings"`
}
