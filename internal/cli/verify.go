package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/verify"
)

const verifyUsage = `velero-plugin-longshore verify BACKUP... | --all | --latest-of SCHEDULE [flags]

Proves that a backup can be restored: every object that Velero wrote is there
and whole, and each says the same as the others. The archive is read to its end.
Velero need not run.

If the location is read from a cluster, that cluster is asked too: whether it
serves all kinds, has what a restore of each snapshot needs, and whether the
storage has each snapshot, ready and of its size. For each snapshot a
VolumeSnapshotContent exists for a moment; nothing else is written. --no-cluster
leaves this out. --restore-volumes also makes a volume from each snapshot, and
removes it again.

--all also looks for what no backup needs: folders without a backup, parts of
unfinished uploads, snapshots in the cluster whose backup is gone. --metrics and
--push tell Prometheus the result.

  velero-plugin-longshore verify nightly-20260101020000
  velero-plugin-longshore verify --latest-of nightly --file location.yaml
  velero-plugin-longshore verify --all --no-archive -o json
  velero-plugin-longshore verify --all --push http://pushgateway.monitoring:9091
  velero-plugin-longshore verify nightly-1 --restore-volumes

Exit status: 0 all is well, 1 a check failed, 2 it could not begin.
`

// errTold is how a command fails that has told what is wrong.
var errTold = errors.New("not all is well")

// verifying are what a person says of a verification.
type verifying struct {
	*reading
	metrics   publishing
	all       bool
	latestOf  string
	noCluster bool
	options   verify.Options
	begun     bool
}

// verified is a finished verification for a program.
type verified struct {
	check.Report                // of the location
	Backups      []check.Report `json:"backups"`
}

func runVerify(args []string, stdout, stderr io.Writer) int {
	v := &verifying{reading: newReading("verify", verifyUsage, stdout, stderr)}
	v.addOutput(v.flags)
	v.flags.BoolVar(&v.all, "all", false, "verify all backups of the location")
	v.flags.StringVar(&v.latestOf, "latest-of", "", "verify the newest finished backup of this `schedule`")
	v.flags.BoolVar(&v.options.NoArchive, "no-archive", false, "read all but the archives")
	v.flags.BoolVar(&v.options.RestoreVolumes, "restore-volumes", false, "make a volume from each snapshot, and remove it again")
	v.flags.BoolVar(&v.noCluster, "no-cluster", false, "ask no cluster, and check only what is stored; that is the default where --file or --config describes the location and neither --kubeconfig nor --context names a cluster")
	v.metrics.add(v.flags)
	status := v.run(args, v.wants, v.verify)
	if status == exitFailed && !v.begun {
		return exitUsage
	}
	return status
}

// wants exactly one way to say what is verified.
func (v *verifying) wants(args []string) error {
	switch {
	case len(args) == 0 && !v.all && v.latestOf == "":
		return errors.New("say which backup, or --all, or --latest-of a schedule")
	case len(args) > 0 && (v.all || v.latestOf != ""), v.all && v.latestOf != "":
		return errors.New("names of backups, --all and --latest-of exclude each other")
	}
	if v.options.RestoreVolumes && !v.asksCluster() {
		return errors.New("--restore-volumes needs a cluster: say which by --kubeconfig or --context, without --no-cluster")
	}
	if v.options.RestoreVolumes {
		v.goingOn = verify.CleanUpNotice()
	}
	for _, name := range args {
		if err := named(name); err != nil {
			return err
		}
	}
	return v.metrics.validate()
}

func (v *verifying) verify(ctx context.Context, l *opened, args []string) error {
	names, err := v.names(ctx, l, args)
	if err != nil {
		return err
	}
	if v.options.Cluster, err = v.into(); err != nil {
		return err
	}
	v.options.Uploads, v.options.ReadOnly, v.options.All = l.store, l.readOnly, v.all
	v.begun = true
	verifier := verify.New(l.Location, v.options)
	tell := v.asText
	if v.output == "json" {
		tell = v.asJSON
	}
	err = tell(ctx, verifier, l.subject, names)
	if ctx.Err() != nil || err != nil && !errors.Is(err, errTold) { // it did not come to its end
		return errors.Join(err, ctx.Err())
	}
	if failed := v.metrics.publish(ctx, verify.Job, verifier.Group(), verifier.Gauges()); failed != nil {
		_ = report(v.stderr, failed)
		return errors.Join(err, errTold)
	}
	return err
}

func (v *verifying) asksCluster() bool {
	return !v.noCluster && (!v.described(v.at) || v.kubeconfig != "" || v.context != "")
}

// into is the cluster that the backups would be restored into, nil if none is asked.
func (v *verifying) into() (*verify.Cluster, error) {
	if !v.asksCluster() {
		return nil, nil
	}
	cluster, err := v.cluster()
	if err != nil {
		return nil, err
	}
	log := v.log(v.stderr)
	return verify.NewCluster(cluster, clusterLists{cluster, log}, log), nil
}

func (v *verifying) names(ctx context.Context, l *opened, args []string) ([]string, error) {
	defer v.progress(v.stderr, "listing the backups")()
	switch {
	case v.all:
		return l.Names(ctx)
	case v.latestOf != "":
		name, unfinished, err := verify.Latest(ctx, l.Location, v.latestOf)
		if len(unfinished) > 0 {
			fmt.Fprintf(v.stderr, "velero-plugin-longshore: not yet finished, and left out: %s\n", strings.Join(unfinished, ", "))
		}
		return []string{name}, err
	}
	return slices.Compact(args), nil
}

func (v *verifying) asJSON(ctx context.Context, verifier *verify.Verifier, subject string, names []string) error {
	location, backups, ok := verifier.Location(ctx, check.Silent{}), []check.Report{}, true
	for _, name := range names {
		report := check.NewReport(name, verifier.Backup(ctx, name, check.Silent{}))
		backups = append(backups, report)
		ok = ok && report.OK
		if ctx.Err() != nil {
			break
		}
	}
	if v.all {
		location = append(location, verifier.Unneeded(ctx, check.Silent{})...)
	}
	all := verified{check.NewReport(subject, location), backups}
	all.OK = all.OK && ok
	return errors.Join(writeJSON(v.stdout, all), sound(all.OK))
}

func (v *verifying) asText(ctx context.Context, verifier *verify.Verifier, subject string, names []string) error {
	out := &remembered{Writer: v.stdout}
	printer := check.NewPrinter(check.TerminalOf(v.stdout).To(out))
	printer.Good, printer.NameWidth = "All that was read is whole", verify.NameWidth
	printer.Title(subject)
	results := verifier.Location(ctx, printer)
	for _, name := range names {
		fmt.Fprintln(out)
		printer.Title("backup " + name)
		results = append(results, verifier.Backup(ctx, name, printer)...)
		if ctx.Err() != nil || out.err != nil {
			break
		}
	}
	if v.all && ctx.Err() == nil && out.err == nil {
		fmt.Fprintln(out)
		printer.Title("what no backup needs")
		results = append(results, verifier.Unneeded(ctx, printer)...)
	}
	printer.Sum(results)
	return errors.Join(out.err, sound(check.Works(results)))
}

func sound(ok bool) error {
	if ok {
		return nil
	}
	return errTold
}

// remembered keeps the error of writing: nothing is verified for nobody.
type remembered struct {
	io.Writer
	err error
}

func (r *remembered) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.Writer.Write(p)
	r.err = err
	return n, err
}
