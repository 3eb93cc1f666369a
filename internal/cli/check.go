package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// checkFlags are what a person says of a check.
type checkFlags struct {
	storageFlags
	readOnly bool
	full     check.Full
}

func runCheck(args []string, stdout, stderr io.Writer) int {
	switch {
	case len(args) == 0:
		return show(stderr, checkUsage+checkMore, exitUsage)
	case isHelp(args[0]):
		return show(stdout, checkUsage+checkMore, exitOK)
	case args[0] != "objectstore" && args[0] != "snapshotter":
		return usageError(stderr, fmt.Errorf("check %q: it checks objectstore or snapshotter; see velero-plugin-longshore check --help", args[0]))
	}
	var f checkFlags
	flags := pflag.NewFlagSet("check", pflag.ContinueOnError)
	run := f.checkSnapshotter
	if args[0] == "objectstore" {
		run = f.checkObjectStore
		f.addTo(flags)
		flags.BoolVar(&f.readOnly, "read-only", false, "write nothing")
	} else {
		f.addSnapshotter(flags)
	}
	f.add(flags)
	f.addOutput(flags)
	name, done, err := parse("check "+args[0], flags, args[1:], checkUsage, stdout)
	if done {
		return exitOK
	}
	if err == nil {
		err = f.validate()
	}
	if err != nil {
		return usageError(stderr, err)
	}
	ctx, stop := interruptible(stderr, f.goingOn(args[0]))
	defer stop()
	ok, err := run(ctx, name, stdout, stderr)
	switch {
	case err != nil:
		return usageError(stderr, err)
	case !ok:
		return exitFailed
	}
	return exitOK
}

// goingOn says what an interrupted check goes on with, "" where it makes nothing.
func (f *checkFlags) goingOn(kind string) string {
	if f.readOnly || (kind == "snapshotter" && !f.full.Wanted) {
		return ""
	}
	return check.CleanUpNotice(kind)
}

func (f *checkFlags) validate() error {
	if size, err := resource.ParseQuantity(f.full.Size); f.full.Size != "" && (err != nil || size.Sign() <= 0) {
		return fmt.Errorf("--size %q is not accepted; it takes a size such as 1Gi", f.full.Size)
	}
	if !f.full.Wanted && (f.full.StorageClass != "" || f.full.Size != "" && f.full.Size != defaultSize) {
		return errors.New("--storage-class and --size are those of the claim that --full makes; add --full")
	}
	return f.where.validate()
}

// defaultSize is the size of the claim of a full check.
const defaultSize = "1Gi"

func (f *checkFlags) addSnapshotter(flags *pflag.FlagSet) {
	flags.BoolVar(&f.full.Wanted, "full", false, "make a claim, and snapshot, restore and delete it")
	flags.StringVar(&f.full.StorageClass, "storage-class", "", "`class` of the claim of --full; without it the default class")
	flags.StringVar(&f.full.Size, "size", defaultSize, "`size` of the claim of --full")
}

func (f *checkFlags) checkObjectStore(ctx context.Context, name string, stdout, stderr io.Writer) (ok bool, err error) {
	location, err := f.location(ctx, name, stderr)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, location.Forget()) }()
	location.LookOnly = f.readOnly
	subject := fmt.Sprintf("%s: bucket %q", location.Subject, location.Bucket)
	return f.tell(stdout, subject, func(observer check.Observer) []check.Result {
		return check.ObjectStore(f.withSecrets(ctx), location, f.log(stderr), observer)
	})
}

func (f *checkFlags) checkSnapshotter(ctx context.Context, name string, stdout, stderr io.Writer) (bool, error) {
	cluster, err := f.cluster()
	if err != nil {
		return false, err
	}
	read := f.progress(stderr, "reading the location")
	defer read()
	location, err := f.find(ctx, check.VolumeSnapshot, name)
	if err != nil {
		return false, err
	}
	if err := cluster.ReadDefaults(ctx, check.VolumeSnapshot, location); err != nil {
		return false, unreached(err)
	}
	read()
	return f.tell(stdout, location.Subject, func(observer check.Observer) []check.Result {
		return check.Snapshotter(ctx, cluster, location, f.full, f.log(stderr), observer)
	})
}

// tell makes the check and writes it as asked for. It returns whether all is
// well.
func (f *checkFlags) tell(stdout io.Writer, subject string, run func(check.Observer) []check.Result) (bool, error) {
	if f.output == "json" {
		results := run(check.Silent{})
		return check.Works(results), writeJSON(stdout, check.NewReport(subject, results))
	}
	printer := check.NewPrinter(check.TerminalOf(stdout))
	printer.Title(subject)
	results := run(printer)
	printer.Sum(results)
	return check.Works(results), nil
}
