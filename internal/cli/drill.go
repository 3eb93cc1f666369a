package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/drill"
)

const drillUsage = `velero-plugin-longshore drill BACKUP | --latest-of SCHEDULE [flags] [-- COMMAND]

Proves a backup by restoring it: Velero restores it into scratch namespaces, the
drill waits until the claims are Bound and the workloads Ready, runs your test,
and removes all of it again, volumes included. What a killed drill left is
removed by the next one.

The drill first proves that it can fail: in an empty namespace your test must
fail. COMMAND reads the name of the scratch namespace from DRILL_NAMESPACE, or
of several from DRILL_NAMESPACES (ORIGINAL=SCRATCH,...). Exit status 0 means
that the test succeeded. A Job runs in the scratch namespace itself.

Cluster-scoped objects are left out, unless --include-cluster-resources names
their kind: then they exist until the drill ends.

--latest-of takes the newest backup of a schedule that Velero has finished.
--metrics and --push tell Prometheus how the drill ended.

  velero-plugin-longshore drill nightly-1 --max-age 26h -- ./test.sh
  velero-plugin-longshore drill --latest-of nightly --test-job test.yaml -o json
  velero-plugin-longshore drill nightly-1 --expect configmaps/shop --until bound

Exit status: 0 the drill passed, 1 it failed, 2 it could not begin.
`

// drilling are what a person says of a drill.
type drilling struct {
	*reading
	metrics           publishing
	latestOf          string
	until, job        string
	expect, expectNot []string
	options           drill.Options
	inCluster         *drill.Cluster
	backup            drill.Backup
	begun             bool
}

// drilled is a finished drill for a program.
type drilled struct {
	check.Report
	Backup     string            `json:"backup"`
	Drill      string            `json:"drill,omitempty"`
	Namespaces map[string]string `json:"namespaces,omitempty"` // scratch by original
	Age        float64           `json:"ageSeconds"`
	Recovery   float64           `json:"recoverySeconds,omitempty"`
}

func runDrill(args []string, stdout, stderr io.Writer) int {
	d := &drilling{reading: newReading("drill", drillUsage, stdout, stderr)}
	d.addOutput(d.flags)
	d.locate = d.findBackup
	d.flags.Lookup("location").Usage = "`name` of the location in the cluster or in the file; without it that of the backup"
	o := &d.options
	d.flags.StringVar(&d.latestOf, "latest-of", "", "drill the newest finished backup of this `schedule`")
	d.flags.StringSliceVar(&o.Namespaces, "include-namespaces", nil, "`namespaces` of the backup to drill; without it all but those of Kubernetes and Velero")
	d.flags.StringSliceVar(&o.ExcludeResources, "exclude-resources", nil, "`resources` to leave out, such as ingresses.networking.k8s.io")
	d.flags.StringSliceVar(&o.ClusterResources, "include-cluster-resources", nil, "`resources` of the cluster to restore for the time of the drill, such as clusterroles.rbac.authorization.k8s.io")
	d.flags.DurationVar(&o.MaxAge, "max-age", 0, "fail if the data that comes back is older; 0 accepts any `age`")
	d.flags.StringVar(&d.until, "until", string(drill.UntilReady), "wait for this `state` before the test: restored, bound (the claims) or ready (the workloads too)")
	d.flags.DurationVar(&o.Timeout, "timeout", 30*time.Minute, "`time` for the restore, the claims and the workloads together")
	d.flags.StringVar(&d.job, "test-job", "", "YAML `file` with a Job that is the test")
	d.flags.DurationVar(&o.TestTimeout, "test-timeout", 10*time.Minute, "`time` for the test")
	d.flags.DurationVar(&o.CleanUpTimeout, "clean-up-timeout", 10*time.Minute, "`time` for the removal of what the drill made, and of what each killed one left")
	d.flags.StringArrayVar(&d.expect, "expect", nil, "`[NAMESPACE/]RESOURCE/NAME` that must be there afterwards, repeatable; one is chosen of each namespace of which none is named")
	d.flags.StringArrayVar(&d.expectNot, "expect-not", nil, "`[NAMESPACE/]RESOURCE/NAME` that must not be there, such as what was made after the backup; repeatable")
	d.metrics.add(d.flags)
	status := d.run(args, d.wants, d.drill)
	if status == exitFailed && !d.begun {
		return exitUsage
	}
	return status
}

// wants one way to say which backup, and behind -- the command of the test.
func (d *drilling) wants(args []string) error {
	if at := d.flags.ArgsLenAtDash(); at >= 0 {
		if len(args) == at {
			return errors.New("there is no command behind --")
		}
		d.options.Test = drill.Command(args[at:])
		args = args[:at]
	}
	o := &d.options
	for i, name := range o.ExcludeResources {
		o.ExcludeResources[i] = drill.ResourceName(name)
	}
	o.Until, d.goingOn = drill.Until(d.until), drill.CleanUpNotice(o.CleanUpTimeout)
	switch {
	case !slices.Contains([]drill.Until{drill.UntilRestored, drill.UntilBound, drill.UntilReady}, o.Until):
		return fmt.Errorf("--until %q is not accepted; it takes restored, bound or ready", d.until)
	case o.Timeout <= 0 || o.TestTimeout <= 0 || o.CleanUpTimeout <= 0 || o.MaxAge < 0:
		return errors.New("--timeout, --test-timeout and --clean-up-timeout must be more than 0, --max-age not less")
	case o.Test != nil && d.job != "":
		return errors.New("--test-job and a command exclude each other")
	case slices.Contains(o.ExcludeResources, "persistentvolumes"):
		return errors.New("--exclude-resources persistentvolumes is not accepted: claims would wait for the original volumes; leave persistentvolumeclaims out")
	}
	for _, resource := range o.ClusterResources {
		if err := drill.ValidateClusterResource(resource); err != nil {
			return fmt.Errorf("--include-cluster-resources: %w", err)
		}
	}
	if err := d.readTest(); err != nil {
		return err
	}
	return errors.Join(d.readMarkers(), d.metrics.validate(), d.oneBackup(args))
}

func (d *drilling) oneBackup(args []string) error {
	switch {
	case d.latestOf == "":
		if len(args) == 0 {
			return errors.New("say which backup, or --latest-of a schedule")
		}
		return one("backup")(args)
	case len(args) > 0:
		return errors.New("the name of a backup and --latest-of exclude each other")
	}
	return nil
}

func (d *drilling) readTest() error {
	if d.job == "" {
		return nil
	}
	file, err := os.Open(filepath.Clean(d.job))
	if err != nil {
		return unreadable("--test-job", d.job, err)
	}
	defer file.Close()
	job, err := drill.ReadJob(file)
	if err != nil {
		return fmt.Errorf("--test-job %s: %w", d.job, err)
	}
	d.options.Test = job
	return nil
}

func (d *drilling) readMarkers() error {
	for _, list := range []struct {
		flag    string
		texts   []string
		markers *[]drill.Marker
	}{{"--expect", d.expect, &d.options.Expect}, {"--expect-not", d.expectNot, &d.options.ExpectNot}} {
		for _, text := range list.texts {
			marker, err := drill.ParseMarker(text)
			if err != nil {
				return fmt.Errorf("%s: %w", list.flag, err)
			}
			*list.markers = append(*list.markers, marker)
		}
	}
	return nil
}

// findBackup asks the cluster for the Backup, whose location it is.
func (d *drilling) findBackup(ctx context.Context, args []string) error {
	cluster, err := d.cluster()
	if err != nil {
		return err
	}
	if d.inCluster, err = drill.NewCluster(cluster); err != nil {
		return err
	}
	defer d.progress(d.stderr, "looking for the backup")()
	if d.latestOf == "" {
		d.backup, err = d.inCluster.FindBackup(ctx, args[0])
	} else {
		d.backup, err = d.latest(ctx)
	}
	err = unreached(err)
	if err == nil && d.at == "" && !d.described("") {
		d.at = d.backup.Location
	}
	return err
}

func (d *drilling) latest(ctx context.Context) (drill.Backup, error) {
	newest, unfinished, err := d.inCluster.Latest(ctx, d.latestOf, d.at)
	if err == nil && len(unfinished) > 0 {
		fmt.Fprintf(d.stderr, "velero-plugin-longshore: not yet finished, and left out: %s\n", strings.Join(unfinished, ", "))
	}
	return newest, err
}

// sameLocation wants Velero to restore from the place that is read.
func (d *drilling) sameLocation(ctx context.Context, l *opened) error {
	own, err := d.inCluster.Find(ctx, check.BackupStorage, d.backup.Location)
	if err != nil {
		return err
	}
	if at := backups.At(nil, own.Bucket, own.Prefix); at.Bucket() != l.Bucket() || at.Prefix() != l.Prefix() {
		return fmt.Errorf("backup %s would be read from %s, and Velero restores it from %s; leave --location, --bucket and --prefix out",
			d.backup.Name, l.subject, subjectOf(own))
	}
	return nil
}

func (d *drilling) drill(ctx context.Context, l *opened, _ []string) error {
	if err := d.sameLocation(ctx, l); err != nil {
		return err
	}
	d.begun = true
	tell := d.asText
	if d.output == "json" {
		tell = d.asJSON
	}
	done, err := tell(ctx, l)
	if ctx.Err() != nil { // it says nothing about the backup
		return err
	}
	if failed := d.metrics.publish(ctx, drill.MetricsJob, done.Group(l.Location), done.Gauges(l.Location)); failed != nil {
		_ = report(d.stderr, failed)
		return errors.Join(err, errTold)
	}
	return err
}

func (d *drilling) asJSON(ctx context.Context, l *opened) (*drill.Report, error) {
	report := drill.Run(ctx, d.inCluster, l.Location, d.backup, d.options, check.Silent{})
	told := drilled{
		Report: check.NewReport(l.subject, report.Results), Backup: d.backup.Name, Drill: report.Drill, Namespaces: report.Namespaces,
		Age: report.Age.Round(time.Second).Seconds(), Recovery: report.Recovery.Round(time.Millisecond).Seconds(),
	}
	told.OK = report.Passed()
	return report, errors.Join(writeJSON(d.stdout, told), sound(told.OK))
}

func (d *drilling) asText(ctx context.Context, l *opened) (*drill.Report, error) {
	printer := check.NewPrinter(check.TerminalOf(d.stdout))
	printer.Doing, printer.Good = "Drilling", "The backup was restored"
	printer.Title("backup " + d.backup.Name + " of " + l.subject)
	report := drill.Run(ctx, d.inCluster, l.Location, d.backup, d.options, printer)
	printer.Sum(report.Results)
	return report, sound(report.Passed())
}
