package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
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
		return nil, err
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
	done()
	if err != nil && len(found) == 0 {
		return err
	}
	if writeErr := f.write(stdout, found); err == nil {
		err = writeErr
	}
	return err
}

func (f *sweepFlags) write(stdout io.Writer, found []snapshotter.Leftover) error {
	list := []leftover{}
	for _, l := range found {
		list = append(list, leftover{l.Kind, l.Name, l.Purpose, l.Backup, short(l.Since.Round(time.Second)), l.Remedy})
	}
	if f.output == "json" {
		return writeJSON(stdout, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(stdout, "Nothing is left.")
		return err
	}
	var rows [][]string
	for _, l := range list {
		rows = append(rows, []string{l.Kind, l.Name, l.Purpose, cmp.Or(l.Backup, "-"), l.Since, l.Remedy})
	}
	return writeTable(stdout, []string{"KIND", "NAME", "PURPOSE", "BACKUP", "SINCE", "REMEDY"}, rows)
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
