// Parts builds the programs that the tests, the demo and the benchmarks run, into
// the user's cache folder, with a line of progress for each. With -list it only
// says which there are.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "parts:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("parts", flag.ContinueOnError)
	onlyList := flags.Bool("list", false, "print the parts' names, versions and whether they are built, and build nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	parts, err := choose(flags.Args())
	if err != nil {
		return err
	}
	if *onlyList {
		return list(out, parts)
	}
	return testbed.Build(ctx, out, parts...)
}

// choose returns the named parts, all if none is named.
func choose(names []string) ([]testbed.Part, error) {
	all := testbed.Parts()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []testbed.Part
	for _, name := range names {
		i := slices.IndexFunc(all, func(p testbed.Part) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no part is called %q; -list prints those there are", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func list(out io.Writer, parts []testbed.Part) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range parts {
		version, err := p.Version()
		if err != nil {
			return err
		}
		cached, err := p.Cached()
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", p.Name, version, state(p, cached))
	}
	return table.Flush()
}

func state(p testbed.Part, cached bool) string {
	switch {
	case p.Possible() != nil:
		return "cannot be had on this machine"
	case p.Local():
		return "built when used"
	case cached:
		return "built"
	default:
		return "not built"
	}
}
