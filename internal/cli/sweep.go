package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// sweepFlags are what a person says of a sweep.
type sweepFlags struct {
	where
	dryRun bool
}

// leftover is a snapshotter.Leftover as JSON.
type leftover struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Purpose string `json:"purpose"`
	Backup  string `json:"backup,omitempty"`
	Since   string `json:"since"` // how long ago its call has ended
	Remedy  string `json:"remedy"`
}

func runSweep(args []string, stdout, stderr io.Writer) int {
	var f sweepFlags
	flags := pflag.NewFlagSet("sweep", pflag.ContinueOnError)
	flags.BoolVar(&f.dryRun, "dry-run", false, "only list what would be removed")
	f.add(flags)
	f.addOutput(flags)
	name, done, err := parse("sweep", flags, args, sweepUsage, stdout)
	if done {
		return exitOK
	}
	if err == nil {
		err = f.validate()
	}
	if err != nil {
		return usageError(stderr, err)
	}
	ctx, stop := interruptible(stderr, "the sweep ends; the next one removes what is left")
	defer stop()
	s, err := f.open(ctx, name, stderr)
	if err != nil {
		return usageError(stderr, err)
	}
	return report(stderr, f.sweep(ctx, s, stdout, stderr))
}

// open makes the snapshotter of the location.
func (f *sweepFlags) open(ctx context.Context, name string, stderr io.Writer) (*snapshotter.Snapshotter, error) {
	cluster, err := f.cluster()
	if err != nil {
		return nil, err
	}
	defer f.progress(stderr, "reading the location")()
	location, err := f.find(ctx, check.VolumeSnapshot, name)
	if err != nil {
		return nil, err
	}
	if err := cluster.ReadDefaults(ctx, check.VolumeSnapshot, location); err != nil {
		return nil, unreached(err)
	}
	s, err := snapshotter.OpenOn(cluster.Kube, cluster.Namespace, f.log(stderr), location.Settings())
	if err != nil {
		return nil, err
	}
	return s.WithLists(clusterLists{cluster, f.log(stderr)}), nil
}

const sweepTimeout = 15 * time.Minute

func (f *sweepFlags) sweep(ctx context.Context, s *snapshotter.Snapshotter, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	work, doing := s.Sweep, "sweeping"
	if f.dryRun {
		work, doing = s.FindLeftovers, "looking"
	}
	done := f.progress(stderr, doing)
	found, err := work(ctx)
	young := ""
	if err == nil {
		young, err = tooYoung(ctx, s)
	}
	done()
	if err != nil && len(found) == 0 {
		return err
	}
	return errors.Join(err, f.write(stdout, found, young))
}

// tooYoung tells of what a later sweep may remove, "" where there is nothing.
func tooYoung(ctx context.Context, s *snapshotter.Snapshotter) (string, error) {
	young, err := s.FindYoung(ctx)
	if err != nil || len(young) == 0 {
		return "", err
	}
	last := slices.MaxFunc(young, func(a, b snapshotter.Leftover) int { return a.Due.Compare(b.Due) }).Due
	return fmt.Sprintf("too young for a sweep: %s, whose calls may still run; from %s on a sweep removes what is left of them (sweepAfter: %s)",
		check.Count(len(young), "object"), last.UTC().Format(time.RFC3339), short(s.Settings().SweepAfter)), nil
}

func (f *sweepFlags) write(stdout io.Writer, found []snapshotter.Leftover, young string) error {
	list := []leftover{}
	for _, l := range found {
		list = append(list, leftover{l.Kind, l.Name, l.Purpose, l.Backup, short(l.Since.Round(time.Second)), l.Remedy})
	}
	if f.output == "json" {
		return writeJSON(stdout, list)
	}
	if len(list) == 0 {
		return writeNothing(stdout, young)
	}
	var rows [][]string
	for _, l := range list {
		rows = append(rows, []string{l.Kind, l.Name, l.Purpose, cmp.Or(l.Backup, "-"), l.Since, l.Remedy})
	}
	err := writeTable(stdout, []string{"KIND", "NAME", "PURPOSE", "BACKUP", "SINCE", "REMEDY"}, rows)
	if young != "" {
		_, failed := fmt.Fprintf(stdout, "\nAnd %s.\n", young)
		err = errors.Join(err, failed)
	}
	return err
}

func writeNothing(stdout io.Writer, young string) error {
	text := "Nothing is left."
	if young != "" {
		text = "Nothing is left that is old enough; " + young + "."
	}
	_, err := fmt.Fprintln(stdout, text)
	return err
}

// short writes a time as people do: 1h, not 1h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
