// Command release makes what users of Longshore get: archives with the binary,
// the container image, lists of what is inside, and the licences of it all. The
// same sources, version and time give the same bytes on any machine with the
// same Go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `go run . [flags] release|image|sign|licences

  release   archives, container image, bills of materials and checksums
  image     the container image only
  sign      sign what release made, and attest it, with a key that is thrown away
  licences  judge the licences of all dependencies, and list them in docs/licences.md

`

// options are what the flags say.
type options struct {
	root, out         string
	version, revision string
	tags, ldflags     string
	seconds           int64
	machines          []platform // for which release builds the command
}

func main() {
	syscall.Umask(0o022) // the modes of folders are part of what is made
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, progress io.Writer) error {
	o, what, err := parse(args)
	if err != nil {
		return err
	}
	b := &builder{options: o, progress: progress, time: time.Unix(o.seconds, 0).UTC()}
	switch what {
	case "release":
		return b.release(ctx)
	case "image":
		return b.image(ctx)
	case "sign":
		return b.sign()
	case "licences":
		return b.licences(ctx)
	}
	return fmt.Errorf("%q is not release, image, sign or licences", what)
}

func parse(args []string) (options, string, error) {
	var o options
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.root, "root", "../..", "`folder` of the repository")
	flags.StringVar(&o.out, "out", "../../dist", "`folder` for what is made")
	flags.StringVar(&o.version, "version", "", "version of what is made")
	flags.StringVar(&o.revision, "revision", "unknown", "commit of the sources")
	flags.StringVar(&o.tags, "tags", "", "tags for go build")
	flags.StringVar(&o.ldflags, "ldflags", "", "linker flags for go build")
	flags.Int64Var(&o.seconds, "time", 0, "time of every file, in seconds since 1970")
	wanted := flags.String("machines", "darwin,windows", "`systems` beside linux for which release builds the command")
	if err := flags.Parse(args); err != nil {
		return o, "", err
	}
	if flags.NArg() != 1 {
		return o, "", errors.New("say one of release, image, sign and licences")
	}
	o.machines = slices.DeleteFunc(slices.Clone(machines), func(p platform) bool { return !slices.Contains(strings.Split(*wanted, ","), p.os) })
	return o, flags.Arg(0), o.complete(flags.Arg(0))
}

var versionForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,127}$`)

// complete checks the options and makes the folders absolute, since go build
// runs elsewhere.
func (o *options) complete(what string) (err error) {
	if what != "licences" && !versionForm.MatchString(o.version) {
		return fmt.Errorf("-version %q: want letters, digits and . _ -", o.version)
	}
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	o.out, err = filepath.Abs(o.out)
	return err
}
