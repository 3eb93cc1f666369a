// Package drill restores a backup of Velero into scratch namespaces, lets the user's
// test look at it, and removes all of it again.
//
// A drill is only worth something if it can fail. So it first takes its questions to
// an empty namespace, the control: the objects of the backup must be missing there,
// and the user's test must fail there. Only then does it restore.
//
// The steps:
//
//	remains             of drills whose process was killed are removed
//	backup              Velero knows it and restores from it
//	age                 it is no older than --max-age
//	archive             what it holds, what is left out, what would reach outside
//	scratch namespaces  are made, and have the labels by which the next drill finds them
//	able to fail        the control has none of it, and the test fails there
//	restore             Velero restores, with a mapping of the namespaces
//	claims              all that were bound are Bound again
//	workloads           are Ready
//	markers             what must be there is, what must not is not
//	test                the user's succeeds
//	clean up            Restore, namespaces and volumes are gone
//	record              the verdict is written to the Backup
//
// Nothing is restored outside the scratch namespaces but the volumes of their claims,
// and objects of the cluster of kinds that were named.
package drill

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

// Until is how far a drill waits before it asks the markers and the test.
type Until string

// How far a drill may wait.
const (
	UntilRestored Until = "restored" // for Velero's Restore
	UntilBound    Until = "bound"    // and for the claims
	UntilReady    Until = "ready"    // and for the workloads
)

// Options of a drill.
type Options struct {
	// Namespaces of the backup, all but those of Kubernetes and Velero if empty.
	Namespaces []string
	// ExcludeResources are left out, such as ingresses.networking.k8s.io.
	ExcludeResources []string
	// ClusterResources are kinds of the cluster that are restored for the time of the
	// drill, such as clusterroles.rbac.authorization.k8s.io; none by default.
	ClusterResources []string
	// MaxAge is the age that the backup may have, 0 for any.
	MaxAge time.Duration
	Until  Until
	// Timeout bounds the time from the restore to the workloads, TestTimeout that of
	// the test.
	Timeout, TestTimeout time.Duration
	// CleanUpTimeout bounds the removal of what this drill made, and of what each killed
	// one left.
	CleanUpTimeout time.Duration
	// Expect must be there after the restore, ExpectNot must not.
	Expect, ExpectNot []Marker
	// Test is the user's, nil for none.
	Test Test
}

// Report is what came of a drill.
type Report struct {
	Results []check.Result
	Backup  Backup
	Drill   string // its ID, "" if none was begun
	// Namespaces are the scratch namespaces by those of the backup.
	Namespaces map[string]string
	// Age of the backup's data when the drill began; Recovery is the time from the
	// restore until the application was there.
	Age, Recovery time.Duration
	Began         time.Time     // when the backup did, zero if it does not say so
	Took          time.Duration // the whole drill
}

// Run makes a drill of a backup. It returns when all that it made is gone, or when
// that could not be.
func Run(ctx context.Context, c *Cluster, l *backups.Location, backup Backup, o Options, observer check.Observer) *Report {
	d := &drill{Run: check.NewRun(observer), Cluster: c, l: l, name: backup.Name, o: o, report: Report{Backup: backup}}
	began := time.Now()
	d.Step(ctx, "remains", d.remains)
	if d.Step(ctx, "backup", d.backup) {
		d.Step(ctx, "age", d.age)
		if d.Step(ctx, "archive", d.read) {
			d.practise(ctx)
		}
		d.Step(context.WithoutCancel(ctx), "record", func(done context.Context) (string, error) { return d.record(ctx, done) })
	}
	d.report.Results, d.report.Took = d.Results, time.Since(began)
	return &d.report
}

// drill is one under way.
type drill struct {
	check.Run
	*Cluster
	report Report
	l      *backups.Location
	name   string // of the backup
	o      Options

	stored *backups.Backup
	object *object // the Backup
	plan   plan
	// there are the markers that must be there after the restore, missing those that
	// must not.
	there, missing []Marker
	// endless is how long the test ran in the control without an end: if it takes as long
	// to succeed, it may be one that cannot fail. It is nil where it failed there.
	endless *time.Duration

	lose    context.CancelCauseFunc // ends what is within the Lease
	release func()                  // ends the renewal of the Lease
}

// practise does all that leaves something to be removed.
func (d *drill) practise(ctx context.Context) {
	d.report.Drill = strings.ToLower(rand.Text()[:idLength])
	d.report.Namespaces = scratchNames(d.report.Drill, d.plan.names())
	within, lose := context.WithCancelCause(ctx)
	d.lose, d.release = lose, func() {}
	defer func() {
		d.Step(context.WithoutCancel(ctx), "clean up", d.cleanUp)
		d.release()
		lose(nil)
	}()
	if d.Step(within, "scratch namespaces", d.prepare) && d.Step(within, "able to fail", d.ableToFail) && d.bringBack(within) {
		d.Step(within, "markers", d.markers)
		d.Step(within, "test", d.test)
	}
}

// bringBack restores, and waits until the application is there.
func (d *drill) bringBack(ctx context.Context) bool {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, d.o.Timeout, errTooLong)
	defer cancel()
	done := d.Step(ctx, "restore", d.restore) && d.waited(ctx, "claims", UntilBound, d.claims) && d.waited(ctx, "workloads", UntilReady, d.workloads)
	if done {
		d.report.Recovery = time.Since(began)
	}
	return done
}

// waited takes a step if the drill waits so far.
func (d *drill) waited(ctx context.Context, step string, until Until, do func(context.Context) (string, error)) bool {
	if d.o.Until == UntilRestored || (d.o.Until == UntilBound && until == UntilReady) {
		d.Step(ctx, step, func(context.Context) (string, error) {
			return "", check.Skip("not waited for, by --until " + string(d.o.Until))
		})
		return true
	}
	return d.Step(ctx, step, do)
}

// errTooLong ends a drill whose application does not come back.
var errTooLong = errors.New("the time of --timeout is over")

// inTime has an error of a wait that took too long tell so, with a hint: by itself it
// would count as an interruption.
func inTime(ctx context.Context, err error, hint string) error {
	cause := context.Cause(ctx)
	if err != nil && !check.IsFinding(err) && (errors.Is(cause, errTooLong) || errors.Is(cause, errLost)) {
		return check.Fail(err.Error(), hint)
	}
	return err
}
