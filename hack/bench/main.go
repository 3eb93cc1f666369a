// Command bench runs Longshore and its peers in turn on the same real parts, in
// one run, and prints how they compare: velero-plugin-for-aws for the object
// store, Velero's built-in CSI snapshots for the snapshotter, and a plugin that
// stores nothing as the ceiling of what Velero's client lets any plugin reach.
//
// Both plugins are driven by Velero's own client, Velero's server is the real one.
// The figures are added to a file of results, from which the tables and the chart
// of docs/benchmarks.md are written.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
)

// settings are what the command line chooses.
type settings struct {
	quick   bool
	list    bool
	profile string
	only    *regexp.Regexp
	plugin  string
	parent  string
	results string
	docs    string
}

func main() {
	// Velero's registry starts its own program, too, to ask for the plugins built
	// into it: here none.
	if slices.Contains(os.Args, "run-plugins") {
		framework.NewServer().Serve()
		return
	}
	chosen, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2)
	}
	// Velero's client hands its own arguments, from the third on, to each plugin.
	os.Args = []string{os.Args[0], "server", "--namespace", "velero"}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, chosen)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&s.quick, "quick", false, "fewer rounds and smaller sizes; the figures go to bin/bench instead of docs")
	flags.BoolVar(&s.list, "list", false, "print the names of the groups of rows, and run nothing")
	flags.StringVar(&s.profile, "profile", "", "take profiles of our plugin's hot paths into this folder, and measure nothing")
	only := flags.String("rows", "", "run only the groups whose name matches this regular expression")
	flags.StringVar(&s.plugin, "plugin", "../../bin/velero-plugin-longshore", "our plugin")
	flags.StringVar(&s.parent, "dir", "", "where the testbed makes its folder (default: /dev/shm if that has room, or the system's temporary folder)")
	out := flags.String("out", "", "folder of the figures, benchmarks.json, .md and .svg (default: docs; with -quick bin/bench)")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -rows:", err)
		return s, err
	}
	if s.parent == "" {
		s.parent = memoryFolder()
	}
	s.only, s.docs = pattern, *out
	if s.docs == "" {
		s.docs = "../../docs"
		if s.quick {
			s.docs = "../../bin/bench"
		}
	}
	s.results = filepath.Join(s.docs, "benchmarks.json")
	return s, nil
}

func run(ctx context.Context, s settings) error {
	chosen := choose(groups(s.quick), s.only)
	if len(chosen) == 0 {
		return fmt.Errorf("no group of rows matches %q; -list prints those there are", s.only)
	}
	if s.list {
		for _, g := range chosen {
			fmt.Println(g.name)
		}
		return nil
	}
	b, err := prepare(ctx, s)
	if err != nil {
		return err
	}
	defer b.close()
	if err := awaitIdle(ctx); err != nil {
		return err
	}
	if s.profile != "" {
		return takeProfiles(ctx, b, s.profile)
	}
	return b.runGroups(ctx, chosen, s)
}

func (b *bench) runGroups(ctx context.Context, chosen []group, s settings) error {
	if err := os.MkdirAll(s.docs, 0o755); err != nil {
		return err
	}
	for _, g := range chosen {
		if err := b.runGroup(ctx, g, s); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return nil
}

// choose returns the groups whose name matches.
func choose(all []group, only *regexp.Regexp) []group {
	return slices.DeleteFunc(all, func(g group) bool { return !only.MatchString(g.name) })
}
