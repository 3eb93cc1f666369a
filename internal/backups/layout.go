package backups

import (
	"path"
	"slices"
	"strings"
)

// Part is one of the objects that make up a backup, by the end of its key.
type Part string

// The parts of a backup.
const (
	PartMetadata         Part = "velero-backup.json"
	PartArchive          Part = ".tar.gz"
	PartLog              Part = "-logs.gz"
	PartResourceList     Part = "-resource-list.json.gz"
	PartSnapshots        Part = "-volumesnapshots.json.gz"
	PartVolumes          Part = "-volumeinfo.json.gz"
	PartPodVolumes       Part = "-podvolumebackups.json.gz"
	PartOperations       Part = "-itemoperations.json.gz"
	PartResults          Part = "-results.gz"
	PartSnapshotClasses  Part = "-csi-volumesnapshotclasses.json.gz"
	PartSnapshotObjects  Part = "-csi-volumesnapshots.json.gz"
	PartSnapshotContents Part = "-csi-volumesnapshotcontents.json.gz"
)

// Required are the parts that every backup has. Velero goes on without its log
// when that cannot be stored.
var Required = []Part{
	PartMetadata, PartArchive, PartResourceList, PartSnapshots, PartVolumes, PartPodVolumes, PartOperations, PartResults,
}

// Optional are the parts that a backup may lack: the log, and lists that only some
// versions of Velero write.
var Optional = []Part{PartLog, PartSnapshotClasses, PartSnapshotObjects, PartSnapshotContents}

// restoreParts are the objects that make up a restore, by the ends of their names.
var restoreParts = []string{"-logs.gz", "-results.gz", "-resource-list.json.gz", "-itemoperations.json.gz"}

// isBackupPart tells whether an object of that name is one of the backup's parts.
func isBackupPart(backup, object string) bool {
	return slices.ContainsFunc(slices.Concat(Required, Optional), func(p Part) bool { return p.Object(backup) == object })
}

// isRestorePart tells whether an object of that name is one of the restore's parts.
func isRestorePart(restore, object string) bool {
	return object == restore+string(PartVolumes) ||
		slices.ContainsFunc(restoreParts, func(end string) bool { return "restore-"+restore+end == object })
}

// Object is the name of the part's object within the folder of the backup.
func (p Part) Object(backup string) string {
	if p == PartMetadata {
		return string(p)
	}
	return backup + string(p)
}

// Folders of a location, of which Velero knows these. It refuses a location that
// has another one.
const (
	backupsFolder  = "backups/"
	restoresFolder = "restores/"
)

// folders are all that Velero knows at the top of a location.
var folders = []string{"backups", "restores", "restic", "metadata", "plugins", "kopia"}

// under is a prefix as Velero uses it: empty, or with a slash at its end only.
func under(prefix string) string {
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		return ""
	}
	return prefix + "/"
}

func (l *Location) key(backup string, p Part) string {
	return l.prefix + backupsFolder + path.Join(backup, p.Object(backup))
}

func (l *Location) restoreLogKey(restore string) string { return l.restoreKey(restore, "-logs.gz") }

func (l *Location) restoreKey(restore, end string) string {
	return l.prefix + restoresFolder + path.Join(restore, "restore-"+restore+end)
}

// ListOf returns the backup whose list of snapshots has that key, if one has.
func (l *Location) ListOf(key string) (backup string, is bool) {
	folder, _, _ := strings.Cut(strings.TrimPrefix(key, l.prefix+backupsFolder), "/")
	return folder, folder != "" && key == l.key(folder, PartSnapshots)
}
