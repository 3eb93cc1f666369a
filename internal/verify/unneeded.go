package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// known is what the backups seen so far are and name.
type known struct {
	names    map[string]bool // of their folders
	empty    []string        // folders of which Velero makes no Backup, without an archive
	unlisted []string        // the same, with one
	handles  map[string]bool // of the snapshots that they name
	unread   int             // backups whose lists of snapshots could not be read
}

func (k *known) add(b *backup) {
	k.names[b.name] = true
	if b.gone {
		return
	}
	switch none := b.useless || len(b.present) > 0 && !b.has(backups.PartMetadata); {
	case none && b.has(backups.PartArchive):
		k.unlisted = append(k.unlisted, b.name)
	case none:
		k.empty = append(k.empty, b.name)
	}
	for _, handle := range b.handles {
		k.handles[handle] = true
	}
	if !b.read[backups.PartSnapshots] || !b.read[backups.PartVolumes] {
		k.unread++
	}
}

// Uploads is what is asked of an object store about uploads that have not ended.
type Uploads interface {
	// ListUploads returns those of keys that begin so.
	ListUploads(ctx context.Context, bucket, prefix string) ([]objectstore.Upload, error)
	// UploadSize returns how many bytes the parts of one have.
	UploadSize(ctx context.Context, bucket string, u objectstore.Upload) (int64, error)
}

// stepSnapshots is the longest name of a step, and NameWidth the room that it needs.
const (
	stepSnapshots = "snapshots without a backup"
	NameWidth     = len(stepSnapshots)
)

// Unneeded looks for what no backup of the location needs. It goes by what the backups
// say, so all of them have to be verified before.
func (v *Verifier) Unneeded(ctx context.Context, observer check.Observer) []check.Result {
	run := check.NewRun(observer)
	run.Step(ctx, "folders without a backup", v.folders)
	if v.o.Uploads != nil {
		run.Step(ctx, "unfinished uploads", v.uploads)
	}
	if v.o.Cluster != nil {
		run.Step(ctx, stepSnapshots, v.snapshots)
	}
	v.tally.steps(run.Results)
	return run.Results
}

// minutes is how often a day Velero looks for new backups in a location, unless
// backupSyncPeriod says otherwise.
const minutes = 24 * 60

// folders looks for folders of which Velero never makes a Backup, and the cluster has
// none. Velero asks for the metadata of each by every look for new backups, which is a
// HEAD and a GET (Velero, pkg/controller/backup_sync_controller.go).
func (v *Verifier) folders(ctx context.Context) (string, error) {
	if len(v.known.names) == 0 {
		return "", check.Fail(fmt.Sprintf("the location has no backup at all (bucket %s, prefix %q)", v.l.Bucket(), v.l.Prefix()),
			"if it is new, make a first backup: velero backup create NAME; otherwise check that bucket and prefix are the right ones, "+
				"and look which lifecycle rules the bucket has, who else writes to it, and whether it keeps former versions")
	}
	here, err := v.inCluster(ctx)
	if err != nil {
		return "", err
	}
	isHere := func(name string) bool { return here[name] }
	empty, unlisted := slices.DeleteFunc(slices.Clone(v.known.empty), isHere), slices.DeleteFunc(slices.Clone(v.known.unlisted), isHere)
	none := slices.Concat(empty, unlisted)
	if len(none) == 0 {
		return "none", nil
	}
	requests := 2 * len(none)
	return "", check.Warn(fmt.Sprintf("of %s Velero makes no Backup: %s; it asks for what is in them each minute, by %s a day", check.Count(len(none), "folder"), few(none, ", "), check.Count(requests*minutes, "request")),
		foldersHint(empty, unlisted))
}

// foldersHint never has anybody remove an archive: a restore reads it, and not
// velero-backup.json.
func foldersHint(empty, unlisted []string) string {
	var hints []string
	if len(empty) > 0 {
		hints = append(hints, "without an archive nothing can be restored: remove "+few(empty, ", ")+" from the storage, unless a Velero is just writing the backup, or a cluster has a Backup of that name")
	}
	if len(unlisted) > 0 {
		hints = append(hints, "keep "+few(unlisted, ", ")+": an archive is there; "+keep)
	}
	return strings.Join(hints, "\n")
}

// inCluster are the names of the cluster's Backups, as far as they may be listed.
func (v *Verifier) inCluster(ctx context.Context) (map[string]bool, error) {
	if v.o.Cluster == nil {
		return nil, nil
	}
	here, err := v.o.Cluster.backups(ctx)
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	return here, err
}

const (
	// underWay is how long an upload may take: what is younger is left alone.
	underWay = 24 * time.Hour
	// measured is of how many uploads the parts are counted.
	measured = 100
)

// uploads looks for the parts of uploads that were broken off.
func (v *Verifier) uploads(ctx context.Context) (string, error) {
	all, err := v.o.Uploads.ListUploads(ctx, v.l.Bucket(), v.l.Prefix())
	switch objectstore.KindOf(err) {
	case objectstore.KindForbidden:
		return "", check.Skip("not seen: the credentials lack s3:ListBucketMultipartUploads, which nothing else needs")
	case objectstore.KindUnsupported:
		return "", check.Skip("not seen: the storage does not list them")
	}
	if err != nil {
		return "", explained(err)
	}
	slices.SortFunc(all, func(a, b objectstore.Upload) int { return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.Key, b.Key)) })
	old := slices.DeleteFunc(slices.Clone(all), func(u objectstore.Upload) bool { return time.Since(u.Begun) < underWay })
	if len(old) == 0 && len(all) == 0 {
		return "the storage lists none", nil
	}
	if len(old) == 0 {
		return check.Count(len(all), "upload") + " of the last day, which may be under way", nil
	}
	return v.oldUploads(ctx, old)
}

// oldUploads tells how large and how old the uploads are, the oldest first.
func (v *Verifier) oldUploads(ctx context.Context, old []objectstore.Upload) (string, error) {
	var words []string
	total, least := int64(0), ""
	for i, u := range old {
		size, err := int64(0), error(nil)
		if i < measured {
			size, err = v.o.Uploads.UploadSize(ctx, v.l.Bucket(), u)
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if objectstore.KindOf(err) == objectstore.KindNotFound {
			continue // it has ended meanwhile
		}
		told := mebibytes(size)
		if i >= measured || err != nil {
			told, least = "of unknown size", "at least "
		}
		total += size
		words = append(words, fmt.Sprintf("%s (%s, %s)", u.Key, told, begun(u.Begun)))
	}
	if len(words) == 0 {
		return "the storage lists none", nil
	}
	return "", check.Warn(fmt.Sprintf("%s broken off more than a day ago, and the parts take up %s%s: %s", count(len(words), "upload", "was", "were"), least, mebibytes(total), few(words, ", ")),
		"no listing of objects shows them, and they are paid for: a lifecycle rule removes them (velero-plugin-longshore print lifecycle; "+docs.Page("examples/lifecycle.json")+"), or abort them by the storage's own tool")
}

func begun(t time.Time) string {
	if t.IsZero() {
		return "of unknown age"
	}
	const day = 24 * time.Hour
	return check.Count(int(time.Since(t)/day), "day") + " old"
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
