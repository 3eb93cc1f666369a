package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/rewrap"
	"github.com/longshore-dev/velero-plugin/objectstore"
)

const rewrapUsage = `velero-plugin-longshore rewrap BACKUP... | --all [flags]

Encrypts old backups again, to exactly the present public keys of the location
(encryptionRecipients), or with --to-plain decrypts them. Only objects of
backups and restores are changed, and not those that are up to date, so after an
interruption run it again. On Ctrl-C it finishes the object that it is working
on.

Each object is read, decrypted and encrypted in memory. The old one is replaced
in one step, and only if all of it was authentic and the new one can be
decrypted; then the new one is read again. A bucket that keeps or locks versions
keeps the old ones. --to-plain is refused while the location has
encryptionRecipients.

  velero-plugin-longshore rewrap --all --dry-run
  velero-plugin-longshore rewrap nightly-20260101020000
  velero-plugin-longshore rewrap --all --seal-plain --file location.yaml
  velero-plugin-longshore rewrap --all --to-plain --dry-run

Exit status: 0 it is done, 1 something failed or was not reached, 2 it could not
begin.
`

// rewrapping are what a person says of a rewrap.
type rewrapping struct {
	*reading
	all     bool
	options objectstore.RewrapOptions
}

func runRewrap(args []string, stdout, stderr io.Writer) int {
	r := &rewrapping{reading: newReading("rewrap", rewrapUsage, stdout, stderr)}
	r.addOutput(r.flags)
	r.goingOn = "the object that is being rewrapped is finished first; the next run goes on from there"
	r.flags.BoolVar(&r.all, "all", false, "rewrap all backups and restores of the location")
	r.flags.BoolVar(&r.options.SealPlain, "seal-plain", false, "also encrypt objects that are not encrypted yet; first make sure that nobody else put them there")
	r.flags.BoolVar(&r.options.ToPlain, "to-plain", false, "decrypt the objects, so that everybody who may read the bucket can read them")
	r.flags.BoolVar(&r.options.DryRun, "dry-run", false, "only list what would be rewrapped")
	return r.run(args, r.wants, r.rewrap)
}

// wants exactly one way to say what is rewrapped.
func (r *rewrapping) wants(args []string) error {
	switch {
	case len(args) == 0 && !r.all:
		return errors.New("say which backup, or --all")
	case len(args) > 0 && r.all:
		return errors.New("names of backups and --all exclude each other")
	case r.options.SealPlain && r.options.ToPlain:
		return errors.New("--seal-plain and --to-plain exclude each other")
	}
	for _, name := range args {
		if err := named(name); err != nil {
			return err
		}
	}
	return nil
}

func (r *rewrapping) rewrap(ctx context.Context, l *opened, args []string) error {
	if err := l.store.RequireKeys(r.options); err != nil {
		return err
	}
	if l.readOnly && !r.options.DryRun {
		return errors.New("the location has accessMode: ReadOnly; rewrap it from the cluster that writes to it")
	}
	objects, err := r.objects(ctx, l, args)
	if err != nil {
		return err
	}
	seen := &rewrapped{reading: r.reading, Location: l.subject, Objects: []rewrap.Object{}, toPlain: r.options.ToPlain}
	seen.Sum = rewrap.Run(ctx, l.store, l.bucket, objects, r.options, seen)
	return errors.Join(seen.write(), sound(seen.OK()))
}

func (r *rewrapping) objects(ctx context.Context, l *opened, names []string) ([]backups.Stored, error) {
	defer r.progress(r.stderr, "listing the backups")()
	if r.all {
		return rewrap.All(ctx, l.Location)
	}
	slices.Sort(names)
	return rewrap.Backups(ctx, l.Location, slices.Compact(names))
}

// rewrapped tells a person of each object, and a program of all at the end.
type rewrapped struct {
	*reading `json:"-"`
	Location string          `json:"location"`
	Objects  []rewrap.Object `json:"objects"`
	rewrap.Sum

	toPlain bool
	end     func()
}

// outcomes are what became of an object, for a person, in the order of telling.
var outcomes = []struct {
	is    rewrap.Outcome
	words string
}{
	{rewrap.Done, "rewrapped"}, {rewrap.Wanted, "to be rewrapped"}, {rewrap.Present, "up to date"},
	{rewrap.Plain, "left plain"}, {rewrap.Foreign, "left as foreign"}, {rewrap.Failed, "failed"},
}

// inWords tells a person what became of an object.
func (r *rewrapped) inWords(is rewrap.Outcome) string {
	words := string(is)
	for _, o := range outcomes {
		if o.is == is {
			words = o.words
		}
	}
	if r.toPlain {
		words = strings.Replace(words, "rewrapped", "decrypted", 1)
	}
	return words
}

// Begin implements rewrap.Observer.
func (r *rewrapped) Begin(key string, number, of int) {
	r.end = r.progress(r.stderr, fmt.Sprintf("%d of %d: %s", number, of, brief(key, nameWidth)))
}

// End implements rewrap.Observer. What is up to date is only counted.
func (r *rewrapped) End(o rewrap.Object) {
	r.end()
	if r.output == "json" {
		r.Objects = append(r.Objects, o)
		return
	}
	if o.Outcome != rewrap.Present {
		fmt.Fprintf(r.stdout, "%s: %s\n", r.inWords(o.Outcome), brief(o.Key, nameWidth))
	}
	if o.Error != "" {
		fmt.Fprintf(r.stdout, "  %s\n", check.OneLine(o.Error))
	}
}

// write writes what became of all objects.
func (r *rewrapped) write() error {
	if r.output == "json" {
		return writeJSON(r.stdout, r)
	}
	var words []string
	for _, o := range outcomes {
		if n := r.Outcomes[o.is]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, r.inWords(o.is)))
		}
	}
	if r.NotReached > 0 {
		words = append(words, fmt.Sprintf("%d not reached: run it again", r.NotReached))
	}
	if len(words) == 0 {
		words = []string{"nothing is stored"}
	}
	_, err := fmt.Fprintln(r.stdout, strings.Join(words, ", "))
	return err
}
