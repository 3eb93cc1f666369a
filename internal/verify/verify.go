// Package verify proves from what is stored that a backup can be restored: every
// object that Velero wrote is there and whole, and each says the same as the others.
//
// A step looks at one object, or at one question. It passes only on what it has
// read: an object that is missing, that cannot be read or that says too little is a
// failure of its step. What a restore survives, but somebody should know, is a
// warning. Nothing is stored.
//
// What the objects are is the concern of internal/backups. What must agree:
//
//	metadata    names the backup; its phase is one that Velero restores from
//	log         is of this backup
//	results     has as many errors as the metadata counts
//	operations  are of this backup, as many as counted, and done
//	items       are as many as counted
//	snapshots   are of this backup, as many as counted, and each has an ID
//	pod volumes are of this backup, and each has an ID
//	volumes     have the snapshots of the two lists, and no others
//	archive     has the items of the list, and no others, each at its place and
//	            written while the backup ran; and the volumes of all snapshots
//
// Where data movers or pods saved volumes:
//
//	repositories  of kopia are there; what is in them is not read
//
// Where anything is encrypted by the plugin:
//
//	encryption  all that was read is
//
// With a [Cluster] to restore into:
//
//	served kinds          the cluster knows the kinds of the archive
//	claims' classes       it has the StorageClasses of the claims
//	restore of snapshots  it has what a restore of each snapshot needs
//	stored snapshots      the storage has each snapshot, by what its driver says
//	Velero's features     include EnableCSI, where Velero took snapshots itself
//	restored volumes      a volume can be made from each, if so wanted
//
// When all backups of a location were seen, what none of them needs:
//
//	folders without a backup    are none
//	unfinished uploads          are none that nobody works on any more
//	snapshots without a backup  are none that the cluster knows of
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// Options choose how much is read.
type Options struct {
	// NoArchive leaves the archives out, which is most of the reading.
	NoArchive bool
	// ReadOnly is whether Velero writes nothing to the location.
	ReadOnly bool
	// Cluster is where it would be restored, nil to ask none.
	Cluster *Cluster
	// Uploads is asked for the uploads to the location that have not ended, nil to look
	// for none.
	Uploads Uploads
	// All is whether the backups are all that the location listed. One that Velero deletes
	// meanwhile is left out then.
	All bool
	// RestoreVolumes makes a volume from each snapshot there, and removes it again.
	RestoreVolumes bool
}

// Verifier verifies backups of a location, one after the other, and remembers of each
// what counts when all were seen. It is for one goroutine.
type Verifier struct {
	l     *backups.Location
	o     Options
	known known
	tally tally
	// repositories tells which namespaces have a repository of kopia, as far as was asked.
	repositories map[string]bool
}

// New returns a Verifier. It asks nothing yet.
func New(l *backups.Location, o Options) *Verifier {
	return &Verifier{l: l, o: o, tally: newTally(), repositories: map[string]bool{}, known: known{names: map[string]bool{}, handles: map[string]bool{}}}
}

// Backup verifies one backup.
func (v *Verifier) Backup(ctx context.Context, name string, observer check.Observer) []check.Result {
	b := &backup{Run: check.NewRun(observer), name: name, read: map[backups.Part]bool{}, encrypted: map[string]bool{}, all: v.o.All, cluster: v.o.Cluster}
	b.l = v.l.WhenOpened(func(part backups.Part, encrypted bool) { b.encrypted[part.Object(name)] = encrypted })
	v.verify(ctx, b)
	v.known.add(b)
	if !b.gone {
		v.tally.backup(b)
	}
	return b.Results
}

func (v *Verifier) verify(ctx context.Context, b *backup) {
	o := v.o
	if !b.Step(ctx, "objects", b.objects) && len(b.present) == 0 {
		return
	}
	b.part(ctx, "metadata", backups.PartMetadata, b.metadata)
	b.part(ctx, "log", backups.PartLog, b.log)
	b.part(ctx, "operations", backups.PartOperations, b.operations)
	b.part(ctx, "results", backups.PartResults, b.results)
	b.part(ctx, "items", backups.PartResourceList, b.items)
	b.part(ctx, "snapshots", backups.PartSnapshots, b.snapshots)
	b.part(ctx, "pod volumes", backups.PartPodVolumes, b.podVolumes)
	b.part(ctx, "volumes", backups.PartVolumes, b.volumes)
	b.repositories(ctx, v.repositories)
	b.others(ctx)
	if o.NoArchive {
		b.Step(ctx, "archive", func(context.Context) (string, error) { return "", check.Skip("it is there, and was not read") })
	} else {
		b.part(ctx, "archive", backups.PartArchive, b.archive)
	}
	b.encryption(ctx)
	if o.Cluster != nil {
		b.here(ctx, o.Cluster)
	}
	if o.Cluster != nil && o.RestoreVolumes {
		b.Step(ctx, "restored volumes", func(ctx context.Context) (string, error) { return b.restored(ctx, o.Cluster) })
	}
}

// here takes the steps that ask the cluster.
func (b *backup) here(ctx context.Context, c *Cluster) {
	type step struct {
		name string
		do   func(context.Context, *Cluster) (string, error)
	}
	steps := []step{{"served kinds", b.servedKinds}, {"claims' classes", b.claimClasses}, {"restore of snapshots", b.restorable}, {"stored snapshots", b.stored}}
	if b.csi > 0 || len(b.moved) > 0 {
		steps = append(steps, step{"Velero's features", b.velerosFeatures})
	}
	for _, step := range steps {
		b.Step(ctx, step.name, func(ctx context.Context) (string, error) {
			detail, err := step.do(ctx, c)
			if ctx.Err() != nil { // what was found then was not looked for to the end
				err = ctx.Err()
			}
			return detail, err
		})
	}
}

// Location verifies what a location must be for Velero to list its backups.
func (v *Verifier) Location(ctx context.Context, observer check.Observer) []check.Result {
	run := check.NewRun(observer)
	run.Step(ctx, "folders", func(ctx context.Context) (string, error) {
		strangers, err := v.l.Strangers(ctx)
		if err != nil {
			return "", err
		}
		if len(strangers) > 0 {
			return "", check.Fail(fmt.Sprintf("beside Velero's own folders there %s", list("is %s", "are %s", strangers)),
				"Velero calls the location Unavailable and lists none of its backups: move them elsewhere, or give Velero a prefix of its own")
		}
		return "only Velero's own", nil
	})
	if v.o.ReadOnly {
		run.Step(ctx, "access mode", func(context.Context) (string, error) {
			return "", check.Warn("it is ReadOnly: Velero restores from it, and makes and deletes no backup in it",
				"that is right for what another cluster writes, and in a disaster; where new backups should come, set spec.accessMode of the location to ReadWrite")
		})
	}
	v.tally.steps(run.Results)
	return run.Results
}

// backup is one that is verified, with what the steps have found out.
type backup struct {
	check.Run
	l       *backups.Location
	name    string
	all     bool     // see Options
	cluster *Cluster // the same
	gone    bool     // Velero has deleted it, or is about to: no more steps are taken

	present []string // the objects
	meta    *backups.Backup
	useless bool // its metadata are there, and Velero makes no Backup of them
	ops     []backups.Operation
	list    backups.ResourceList
	taken   []backups.Snapshot // that were completed
	pods    []backups.PodVolume
	moved   []backups.Volume      // by data movers
	csi     int                   // snapshots that Velero took itself
	handles []string              // of all snapshots that it names
	needs   *needs                // nil until the archive was read to its end
	read    map[backups.Part]bool // parts that later steps may rely on

	encrypted map[string]bool // which of the objects that were opened are
}

// lost is the hint where an object is missing or damaged.
const lost = "this object was changed or lost after Velero wrote it: bring back a former version of it if the bucket keeps versions, " +
	"look who else writes to the bucket and which lifecycle rules it has, and make a new backup"

// keep is added where Velero makes no Backup of a folder with an archive. A restore reads
// the Backup in the cluster, and Velero removes that when its folder is gone.
const keep = "a cluster that still has the Backup restores from this folder, and loses the Backup with it: keep the folder, " +
	"and bring back a former version of velero-backup.json if the bucket keeps versions"

// mixed is the hint where an object contradicts another.
const mixed = "the objects of this backup do not belong together: look who else writes to the bucket, and make a new backup"

// part takes a step that reads a part, if the part is there; that it has to be is
// for the step "objects" to say.
func (b *backup) part(ctx context.Context, step string, part backups.Part, do func(context.Context) (string, error)) {
	object := part.Object(b.name)
	b.Step(ctx, step, func(ctx context.Context) (string, error) {
		if !b.has(part) {
			return "", check.Skip(object + " is missing")
		}
		detail, err := do(ctx)
		if missing := new(*backups.Missing); backups.IsMissing(err) || errors.As(err, missing) {
			err = b.unlessDeleted(ctx, err)
		}
		if ctx.Err() == nil {
			err = explained(err)
		}
		return detail, err
	})
}

// explained gives an error that is no finding yet its hint.
func explained(err error) error {
	switch {
	case err == nil, check.IsFinding(err):
		return err
	case backups.IsMissing(err):
		return check.Fail(err.Error(), "it is in the listing, and cannot be read: the storage contradicts itself")
	case isDamage(err):
		return check.Fail(err.Error(), lost)
	}
	var told interface {
		error
		Hint() string // of the storage's errors
	}
	if errors.As(err, &told) && told.Hint() != "" {
		return check.Fail(strings.TrimSuffix(err.Error(), "; "+told.Hint()), told.Hint())
	}
	return err
}

// isDamage tells whether err says that an object is not what Velero wrote. One that the
// location's keys do not open may be.
func isDamage(err error) bool {
	return backups.IsDamage(err) && objectstore.KindOf(err) != objectstore.KindNotDecrypted
}

// has tells whether a part was listed.
func (b *backup) has(part backups.Part) bool { return slices.Contains(b.present, part.Object(b.name)) }

func (b *backup) objects(ctx context.Context) (string, error) {
	var err error
	if b.present, err = b.l.Objects(ctx, b.name); err != nil {
		return "", err
	}
	if len(b.present) == 0 {
		if err := b.l.Find(ctx, b.name); err != nil {
			return "", b.unlessDeleted(ctx, err)
		}
	}
	missing, unknown := b.compareObjects()
	switch {
	case len(missing) > 0 && b.neverWritten(ctx, missing):
		return "", check.Warn(list("%s is missing", "%s are missing", missing)+", as in backups of Velero before 1.13",
			"Velero restores it; which volumes CSI snapshots or data movers saved is not known here, so nothing is proven of them")
	case len(missing) > 0:
		return "", b.unlessDeleted(ctx, b.lacking(missing))
	case len(unknown) > 0:
		return "", check.Warn(list("%s is not Velero's", "%s are not Velero's", unknown), "Velero deletes them with the backup; keep them elsewhere")
	case !b.has(backups.PartLog):
		return "", check.Warn("its log is missing", "a restore does not need it; Velero goes on when it cannot store a log")
	}
	return fmt.Sprintf("%d", len(b.present)), nil
}

// lacking is how the step ends where required objects are missing.
func (b *backup) lacking(missing []string) error {
	hint := lost
	switch listed := b.has(backups.PartMetadata); {
	case !listed && b.has(backups.PartArchive):
		hint = lost + "; " + keep
	case !listed:
		hint = "Velero makes no Backup of it, and asks the storage for it each minute; without an archive nothing can be restored: if a cluster has a Backup of this name, " +
			"delete that by velero backup delete " + b.name + "; otherwise, if no backup of this name is running, remove the folder"
	}
	return check.Fail(list("%s is missing", "%s are missing", missing), hint)
}

// newer are the required parts that Velero before 1.13 did not write: the list of
// volumes, and before 1.11 neither of the others.
var newer = []backups.Part{backups.PartVolumes, backups.PartOperations, backups.PartResults}

// neverWritten tells whether the Velero that made the backup did not write these objects yet.
func (b *backup) neverWritten(ctx context.Context, missing []string) bool {
	isNewer := func(object string) bool {
		return slices.ContainsFunc(newer, func(p backups.Part) bool { return p.Object(b.name) == object })
	}
	if !slices.Contains(missing, backups.PartVolumes.Object(b.name)) || !containsOnly(missing, isNewer) {
		return false
	}
	m, err := b.l.Metadata(ctx, b.name)
	if err != nil || !m.Before113() || m.Status.OperationsAttempted > 0 && !b.has(backups.PartOperations) {
		return false
	}
	b.csi = m.Status.CSISnapshotsCompleted
	return true
}

func containsOnly(words []string, wanted func(string) bool) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !wanted(word) })
}

func (b *backup) compareObjects() (missing, unknown []string) {
	unknown = slices.Clone(b.present)
	for _, part := range slices.Concat(backups.Required, backups.Optional) {
		object := part.Object(b.name)
		unknown = slices.DeleteFunc(unknown, func(name string) bool { return name == object })
		if slices.Contains(backups.Required, part) && !slices.Contains(b.present, object) {
			missing = append(missing, object)
		}
	}
	return missing, unknown
}

// encryption wants all objects to be encrypted by the plugin if one is: what is plain
// among them may be from anybody.
func (b *backup) encryption(ctx context.Context) {
	var plain []string
	for object, encrypted := range b.encrypted {
		if !encrypted {
			plain = append(plain, object)
		}
	}
	if len(plain) == len(b.encrypted) {
		return
	}
	slices.Sort(plain)
	b.Step(ctx, "encryption", func(context.Context) (string, error) {
		if len(plain) == 0 {
			return fmt.Sprintf("each of the %d objects that were read", len(b.encrypted)), nil
		}
		return "", check.Fail(list("%s is not encrypted, and other objects of the backup are", "%s are not encrypted, and other objects of the backup are", plain),
			"Velero stores the objects of a backup with the same settings: look who else writes to the bucket, or end the rewrap that was interrupted. "+
				"With encryptionRequired the location refuses plain objects")
	})
}

// others reads the lists to their ends of which nothing more is known here.
func (b *backup) others(ctx context.Context) {
	for _, part := range backups.Optional {
		if part != backups.PartLog && b.has(part) {
			b.part(ctx, strings.TrimPrefix(strings.TrimSuffix(string(part), ".json.gz"), "-"), part, func(ctx context.Context) (string, error) {
				return "", b.l.Check(ctx, b.name, part)
			})
		}
	}
}
