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

Proves that a backup can be restored: every object that Velero wrote is there and
whole, and each says the same as the others. The archive is read to its end. Velero
need not run.

Where the location is one of a cluster, that is asked too: whether it serves all
kinds, has what a restore of each snapshot needs, and whether the storage has each
snapshot, ready and of its size. For each a VolumeSnapshotContent stands in the
cluster for a moment; nothing else is written anywhere. --no-cluster leaves it out,
and --restore-volumes also makes a volume from each snapshot, and removes it again.

  velero-plugin-longshore verify nightly-20260101020000
  velero-plugin-longshore verify --latest-of nightly --file location.yaml
  velero-plugin-longshore verify --all --no-archive -o json
  velero-plugin-longshore verify nightly-1 --restore-volumes

Exit status: 0 all is well, 1 a check failed, 2 it could not begin.
`

// errUnsound is how a verification fails that has told what is wrong.
var errUnsound = errors.New("not all is well")

// verifying are what a person says of a verification.
type verifying struct {
	*reading
	all       bool
	latestOf  string
	noCluster bool
	options   verify.Options
}

// verified is a finished verification for a program.
type verified struct {
	check.Report                // of the location
	Backups      []check.Report `json:"backups"`
}

func runVerify(args []string, stdout, stderr io.Writer) int {
	v := &verifying{reading: newReading("verify", verifyUsage, stdout, stderr)}
	v.flags.BoolVar(&v.all, "all", false, "verify all backups of the location")
	v.flags.StringVar(&v.latestOf, "latest-of", "", "verify the newest finished backup of this `schedule`")
	v.flags.BoolVar(&v.options.NoArchive, "no-archive", false, "read all but the archives")
	v.flags.BoolVar(&v.options.RestoreVolumes, "restore-volumes", false, "make a volume from each snapshot, and remove it again")
	v.flags.BoolVar(&v.noCluster, "no-cluster", false, "look at what is stored only; so it is, too, where --file or --config describe the location and no --kubeconfig or --context names a cluster")
	return v.run(args, v.wants, v.verify)
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
	for _, name := range args {
		if err := named(name); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifying) verify(ctx context.Context, l *opened, args []string) error {
	names, err := v.names(ctx, l, args)
	if err != nil {
		return err
	}
	if v.options.Cluster, err = v.into(); err != nil {
		return err
	}
	if v.output == "json" {
		return v.asJSON(ctx, l, names)
	}
	return v.asText(ctx, l, names)
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
	return verify.NewCluster(cluster, v.log(v.stderr)), nil
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

func (v *verifying) asJSON(ctx context.Context, l *opened, names []string) error {
	all := verified{Report: check.NewReport(l.subject, verify.Location(ctx, l.Location, check.Silent{})), Backups: []check.Report{}}
	for _, name := range names {
		report := check.NewReport(name, verify.Backup(ctx, l.Location, name, v.options, check.Silent{}))
		all.Backups = append(all.Backups, report)
		all.OK = all.OK && report.OK
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(writeJSON(v.stdout, all), sound(all.OK))
}

func (v *verifying) asText(ctx context.Context, l *opened, names []string) error {
	out := &remembered{Writer: v.stdout}
	printer := check.NewPrinter(check.TerminalOf(v.stdout).To(out))
	printer.Good = "All that was read is whole"
	printer.Title(l.subject)
	results := verify.Location(ctx, l.Location, printer)
	for _, name := range names {
		fmt.Fprintln(out)
		printer.Title("backup " + name)
		results = append(results, verify.Backup(ctx, l.Location, name, v.options, printer)...)
		if ctx.Err() != nil || out.err != nil {
			break
		}
	}
	printer.Sum(results)
	return errors.Join(out.err, sound(check.Works(results)))
}

func sound(ok bool) error {
	if ok {
		return nil
	}
	return errUnsound
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
