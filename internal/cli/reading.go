package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

// reading is a command about what is stored in a location.
type reading struct {
	storageFlags
	name, usage    string
	goingOn        string // when it is interrupted, "" where it just ends
	at             string // the location
	stdout, stderr io.Writer
	flags          *pflag.FlagSet
	// locate, if set, finds out which location is meant where nobody says.
	locate func(ctx context.Context, args []string) error
}

// opened is the location that a command reads.
type opened struct {
	*backups.Location
	store    *objectstore.Store
	bucket   string
	readOnly bool
	subject  string // for a person
	forget   func() error
}

func newReading(name, usage string, stdout, stderr io.Writer) *reading {
	r := &reading{name: name, usage: usage, stdout: stdout, stderr: stderr, flags: pflag.NewFlagSet(name, pflag.ContinueOnError)}
	r.flags.StringVarP(&r.at, "location", "l", "", "`name` of the location in the cluster or in the file; without it the default one")
	return r
}

// run reads the command line, opens the location and lets do work. do returns an
// error where the work failed.
func (r *reading) run(args []string, wants func(args []string) error, do func(ctx context.Context, l *opened, args []string) error) int {
	r.addTo(r.flags)
	r.add(r.flags)
	done, err := parseFlags(r.name, r.flags, args, r.usage, r.stdout)
	if done {
		return exitOK
	}
	err = errors.Join(err, r.validate())
	if err == nil {
		err = wants(r.flags.Args())
	}
	if err != nil {
		return usageError(r.stderr, err)
	}
	ctx, stop := interruptible(r.stderr, r.goingOn)
	defer stop()
	l, err := r.open(ctx)
	if err != nil {
		return usageError(r.stderr, r.said(ctx, err))
	}
	return r.report(ctx, errors.Join(do(ctx, l, r.flags.Args()), l.forget()))
}

func (r *reading) open(ctx context.Context) (*opened, error) {
	if r.locate != nil {
		if err := r.locate(ctx, r.flags.Args()); err != nil {
			return nil, err
		}
	}
	location, err := r.location(ctx, r.at, r.stderr)
	if err != nil {
		return nil, err
	}
	if strings.Trim(location.Bucket, "/") == "" {
		return nil, errors.Join(fmt.Errorf("%s names no bucket; name one by --bucket", location.Subject), location.Forget())
	}
	defer r.progress(r.stderr, "opening the location")()
	config := location.ObjectStoreConfig()
	delete(config, "writeProbe")
	store, err := objectstore.Open(r.withSecrets(ctx), r.log(r.stderr), config)
	if err != nil {
		return nil, errors.Join(err, location.Forget())
	}
	return &opened{
		Location: backups.At(store, location.Bucket, location.Prefix), store: store, bucket: strings.Trim(location.Bucket, "/"),
		readOnly: location.ReadOnly, subject: subjectOf(location), forget: location.Forget,
	}, nil
}

func subjectOf(l *check.Location) string {
	subject := l.Subject + ": bucket " + l.Bucket
	if l.Prefix != "" {
		subject += ", prefix " + l.Prefix
	}
	return subject
}

// report tells how it ended. Whoever closed the pipe that was written to knows it,
// and whoever was told what failed.
func (r *reading) report(ctx context.Context, err error) int {
	if errors.Is(err, syscall.EPIPE) || (errors.Is(err, errTold) && ctx.Err() == nil) {
		return exitFailed
	}
	return report(r.stderr, r.said(ctx, err))
}

// said is err in the words of a command that was interrupted, if it was.
func (*reading) said(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}
