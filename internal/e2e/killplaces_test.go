package e2e

// backupPlace is a step of a backup of one volume, or of a group of two.
type backupPlace struct {
	name  string
	group bool
	s3    bool // the request is one to the object store
	place
	now state
	// phase is how the backup ends when Velero is killed, "Failed" if empty.
	phase string
	// kept is how many snapshots its stored list then names.
	kept int
}

// state is what there is of a backup while a request of it is held. any is not looked at.
type state struct {
	contents  int // VolumeSnapshotContents and VolumeGroupSnapshotContents
	handles   int // those of them that have a handle
	written   int // IDs in the journal
	snapshots int // in the storage
	list      bool
}

const anyNumber = -1

// NAME in a place stands for the name of the backup.
var backupPlaces = []backupPlace{
	{
		name: "not-asked-for", place: place{method: "POST", what: "volumesnapshotcontents", of: "NAME"},
	},
	{
		name: "asked-for", place: place{method: "POST", what: "volumesnapshotcontents", of: "NAME", answered: true},
		now: state{contents: 1, handles: anyNumber, snapshots: anyNumber},
	},
	{
		name: "taken", place: place{method: "POST", what: "configmaps", of: "NAME"},
		now: state{contents: 1, handles: 1, snapshots: 1},
	},
	{
		name: "written-down", place: place{method: "POST", what: "configmaps", of: "NAME", answered: true},
		now: state{contents: 1, handles: 1, written: 1, snapshots: 1},
	},
	{
		name: "kept", place: place{method: "DELETE", what: "volumesnapshotcontents", of: "NAME"},
		now: state{contents: 1, handles: 1, written: 1, snapshots: 1},
	},
	{
		name: "about-to-answer", place: place{method: "DELETE", what: "volumesnapshotcontents", of: "NAME", answered: true},
		now: state{written: 1, snapshots: 1},
	},
	{
		name: "list-not-stored", s3: true, place: place{method: "PUT", what: "/NAME-volumesnapshots.json.gz"},
		now: state{written: 1, snapshots: 1},
	},
	{
		name: "list-stored", s3: true, place: place{method: "PUT", what: "/NAME-volumesnapshots.json.gz", answered: true},
		now:  state{written: 1, snapshots: 1, list: true},
		kept: 1,
	},
	{
		name: "finalizing", s3: true, place: place{method: "PUT", what: "/NAME/velero-backup.json", skip: 1},
		now:   state{snapshots: 1, list: true},
		phase: "Completed", kept: 1,
	},
	{
		name: "group-not-asked-for", group: true, place: place{method: "POST", what: "volumegroupsnapshotcontents", of: "NAME"},
	},
	{
		name: "group-asked-for", group: true, place: place{method: "POST", what: "volumegroupsnapshotcontents", of: "NAME", answered: true},
		now: state{contents: 1, handles: anyNumber, snapshots: anyNumber},
	},
	{
		name: "group-taken", group: true, place: place{method: "POST", what: "configmaps", of: "NAME"},
		now: state{contents: 1, handles: 1, snapshots: 2},
	},
	{
		name: "group-half-written-down", group: true, place: place{method: "PATCH", what: "configmaps", of: "NAME"},
		now: state{contents: 1, handles: 1, written: 1, snapshots: 2},
	},
	{
		name: "group-about-to-answer", group: true, place: place{method: "DELETE", what: "volumegroupsnapshotcontents", of: "NAME", answered: true},
		now: state{written: 2, snapshots: 2},
	},
}

// restorePlace is a step of the restore of one volume.
type restorePlace struct {
	name string
	place
	claim     bool // there is a staging claim
	volume    bool // the driver has made the volume
	given     bool // the record says that the volume is handed over
	restored  bool // Velero has made its PersistentVolume
	undecided bool // a person has to decide
}

var restorePlaces = []restorePlace{
	{
		name: "being-made", place: place{method: "POST", what: "persistentvolumeclaims", of: "longshore-restore-", answered: true},
		claim: true,
	},
	{
		name: "made", place: place{method: "PATCH", what: "storageclasses", of: "longshore-restore-"},
		claim: true, volume: true,
	},
	{
		name: "about-to-answer", place: place{method: "PATCH", what: "storageclasses", of: "longshore-restore-", answered: true},
		claim: true, volume: true, given: true,
	},
	{
		name: "answered", place: place{method: "POST", what: "persistentvolumes", of: "NAME", velero: true},
		volume: true, given: true, undecided: true,
	},
	{
		name: "restored", place: place{method: "POST", what: "persistentvolumes", of: "NAME", velero: true, answered: true},
		volume: true, given: true, restored: true,
	},
}

// deletionPlace is a step of the deletion of a backup of one volume, or of a group.
type deletionPlace struct {
	name  string
	group bool
	s3    bool
	place
	contents  int  // of the deletion
	snapshots int  // in the storage
	objects   bool // the bucket has objects of the backup
}

var deletionPlaces = []deletionPlace{
	{
		name: "asked-for", place: place{method: "POST", what: "volumesnapshotcontents", of: "longshore-delete-", answered: true},
		contents: 1, snapshots: 1, objects: true,
	},
	{
		name: "driver-about-to-be-called", place: place{method: "DELETE", what: "volumesnapshotcontents", of: "longshore-delete-"},
		contents: 1, snapshots: 1, objects: true,
	},
	{
		name: "driver-called", place: place{method: "DELETE", what: "volumesnapshotcontents", of: "longshore-delete-", answered: true},
		contents: anyNumber, snapshots: anyNumber, objects: true,
	},
	{
		name: "snapshot-gone", s3: true, place: place{method: "DELETE", of: "/NAME/"},
		objects: true,
	},
	{
		name: "half-of-the-objects-gone", s3: true, place: place{method: "DELETE", of: "/NAME/", skip: 4},
		objects: true,
	},
	{
		name: "objects-gone", place: place{method: "DELETE", what: "backups", of: "NAME", velero: true},
	},
	{
		name: "group-asked-for", group: true, place: place{method: "POST", what: "volumegroupsnapshotcontents", of: "longshore-delete-", answered: true},
		contents: 1, snapshots: 2, objects: true,
	},
	{
		name: "group-driver-called", group: true, place: place{method: "DELETE", what: "volumegroupsnapshotcontents", of: "longshore-delete-", answered: true},
		contents: anyNumber, snapshots: anyNumber, objects: true,
	},
}
