package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

const logsUsage = `velero-plugin-longshore logs BACKUP|RESTORE [flags]

Writes the log of a backup or a restore. It is read from the storage with the
location's own credentials, certificate, proxy and key, not through a signed URL
of Velero, which need not run. Where a backup and a restore have the same name,
say backup/NAME or restore/NAME.

  velero-plugin-longshore logs nightly-20260101020000
  velero-plugin-longshore logs restore/nightly --file location.yaml

Exit status: 0 all of it is written, 1 it is not, 2 it could not begin.
`

func runLogs(args []string, stdout, stderr io.Writer) int {
	r := newReading("logs", logsUsage, stdout, stderr)
	return r.run(args, one("backup or restore"), func(ctx context.Context, l *opened, args []string) error {
		kind, name, err := whose(ctx, l, args[0])
		if err != nil {
			return err
		}
		out := check.TerminalOf(stdout).Printable()
		if kind == "restore" {
			return l.WriteRestoreLog(ctx, out, name)
		}
		return l.WriteLog(ctx, out, name)
	})
}

// one wants exactly one argument.
func one(what string) func([]string) error {
	return func(args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("say which %s", what)
		case len(args) > 1:
			return fmt.Errorf("one %s at most, not %s", what, strings.Join(args, " "))
		}
		return named(args[0])
	}
}

// named refuses what can be no name, before it becomes a part of a key.
func named(name string) error {
	if _, bare, in := strings.Cut(name, "/"); in && (strings.HasPrefix(name, "backup/") || strings.HasPrefix(name, "restore/")) {
		name = bare
	}
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return fmt.Errorf("%q is no name of a backup or restore", name)
	}
	return nil
}

// whose finds out whether a name is a backup's or a restore's.
func whose(ctx context.Context, l *opened, name string) (kind, bare string, err error) {
	if kind, bare, said := strings.Cut(name, "/"); said {
		return kind, bare, nil
	}
	backup, restore, err := l.Known(ctx, name)
	switch {
	case err != nil:
		return "", "", err
	case backup && restore:
		return "", "", fmt.Errorf("there is a backup %[1]s and a restore %[1]s: say backup/%[1]s or restore/%[1]s", name)
	case restore:
		return "restore", name, nil
	}
	return "backup", name, nil
}
