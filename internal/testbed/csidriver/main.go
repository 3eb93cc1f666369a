// Command csidriver is a CSI driver for tests: volumes are folders, snapshots
// are copies of them. README.md describes its flags, its control file and what
// it keeps on disk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// version is stamped by the linker; CSI demands that it is not empty.
var version = "v0.1.0"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status: 0 when the work is done, 1 when it failed and 2
// when the arguments were wrong.
func run(args []string, stdout, stderr io.Writer) int {
	err := dispatch(args, stdout, stderr)
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "csidriver: %v (--help lists the flags)\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "csidriver: %v\n", err)
		return 1
	}
}

func dispatch(args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "books" {
		return runBooks(args[1:], stdout)
	}
	cfg, err := parseConfig(args, stdout)
	if err != nil {
		return err
	}
	if cfg.showVersion {
		_, err := fmt.Fprintln(stdout, version)
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return serve(ctx, cfg, slog.New(slog.NewTextHandler(stderr, nil)))
}
