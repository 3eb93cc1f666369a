// Matrix runs the tests that meet other people's programs, over versions of these
// programs and conditions of the cluster, and writes what came of it to
// docs/compatibility.md. A row that is not run keeps its earlier result.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

type options struct {
	rows    *regexp.Regexp
	list    bool
	docs    string
	logs    string
	columns *regexp.Regexp
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("matrix", flag.ContinueOnError)
	pattern := flags.String("rows", "", "run only the rows whose line in -list matches this regular expression")
	o := options{}
	flags.BoolVar(&o.list, "list", false, "print the rows, and run nothing")
	flags.StringVar(&o.docs, "docs", "docs", "folder of compatibility.md and compatibility.json")
	flags.StringVar(&o.logs, "logs", "bin/matrix", "folder for the output of the tests")
	tests := flags.String("columns", "", "run only the tests of the columns whose title matches this regular expression; the others keep their earlier result, and the row its date")
	err := flags.Parse(args)
	if err != nil {
		return err
	}
	if o.columns, err = regexp.Compile(*tests); err != nil {
		return fmt.Errorf("-columns: %w", err)
	}
	if o.rows, err = regexp.Compile(*pattern); err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	chosen := choose(rows(testbed.Editions()), o.rows)
	if o.list {
		for _, r := range chosen {
			fmt.Fprintln(out, r)
		}
		return nil
	}
	return runRows(ctx, o, chosen, out)
}

func choose(all []row, pattern *regexp.Regexp) []row {
	var chosen []row
	for _, r := range all {
		if pattern.MatchString(r.String()) {
			chosen = append(chosen, r)
		}
	}
	return chosen
}

// runRows writes the table after each row: the whole takes hours.
func runRows(ctx context.Context, o options, chosen []row, out io.Writer) error {
	if err := os.MkdirAll(o.logs, 0o755); err != nil {
		return err
	}
	if err := record(o.docs); err != nil {
		return err
	}
	failed := 0
	for i, r := range chosen {
		fmt.Fprintf(out, "[%d/%d] %s\n", i+1, len(chosen), r)
		result, err := r.run(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		fmt.Fprintf(out, "  %s\n", result)
		if !result.passed() {
			failed++
		}
		if err := record(o.docs, result); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d rows failed; the output is in %s", failed, len(chosen), o.logs)
	}
	return nil
}

// command runs a program with the row's environment and keeps its output.
func (r row) command(ctx context.Context, dir, log string, args ...string) (output []byte, passed bool, err error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), testbed.MatrixVariable+"="+r.matrix())
	// An interrupt is for the whole group: go test alone would leave the tests running.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	output, err = cmd.CombinedOutput()
	if writeErr := os.WriteFile(log, output, 0o644); writeErr != nil {
		return nil, false, writeErr
	}
	if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, false, err
	}
	return output, err == nil, nil
}

func (r row) log(o options, name string) string {
	return filepath.Join(o.logs, r.fileName()+"."+name+".log")
}
