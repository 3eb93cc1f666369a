package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const downloadUsage = `velero-plugin-longshore download BACKUP [PATH...] [flags]

Writes the archive of a backup into a file. It is read from the storage with the
location's own credentials, certificate, proxy and key, and checked to its end:
the file appears whole or not at all. With a PATH it holds only what is at that
path in the archive, a file or a folder; a single file is written as it is.

  velero-plugin-longshore download nightly-20260101020000
  velero-plugin-longshore download nightly-1 --to - resources/configmaps

Exit status: 0 it is written, 1 it is not, 2 it could not begin.
`

func runDownload(args []string, stdout, stderr io.Writer) int {
	r := newReading("download", downloadUsage, stdout, stderr)
	to := r.flags.String("to", "", "`file` to write, - for standard output; without it BACKUP.tar.gz, or the name of the one PATH")
	force := r.flags.Bool("force", false, "replace the file if it is there")
	return r.run(args, backupAndPaths, func(ctx context.Context, l *opened, args []string) error {
		name, paths := args[0], args[1:]
		defer r.progress(stderr, "downloading")()
		write := func(w io.Writer) error { return l.WriteArchive(ctx, w, name, paths) }
		if *to == "-" {
			return write(stdout)
		}
		return writeFile(cmp.Or(*to, defaultName(name, paths)), *force, write)
	})
}

func backupAndPaths(args []string) error {
	if len(args) == 0 {
		return errors.New("say which backup")
	}
	return named(args[0])
}

func defaultName(backup string, paths []string) string {
	if len(paths) == 1 && path.Ext(paths[0]) != "" {
		return path.Base(paths[0])
	}
	return backup + ".tar.gz"
}

// writeFile makes a file of what write gives, whole or not at all: until then it
// is a temporary file beside it.
func writeFile(name string, force bool, write func(io.Writer) error) error {
	name = filepath.Clean(name)
	if _, err := os.Lstat(name); err == nil && !force {
		return fmt.Errorf("%s is there already; name another file with --to, or replace it with --force", name)
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+strings.TrimPrefix(filepath.Base(name), ".")+".part-")
	if err != nil {
		return fmt.Errorf("write %s: %w; name a file with --to, in a folder that is there and may be written to", name, reason(err))
	}
	err = write(file)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = publish(file.Name(), name, force)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// publish gives the file its name. Without force it replaces none that came
// meanwhile.
func publish(file, name string, force bool) error {
	if force {
		return os.Rename(file, name)
	}
	if err := os.Link(file, name); err != nil {
		if errors.Is(err, os.ErrExist) {
			return err
		}
		return os.Rename(file, name) // a file system without links
	}
	return os.Remove(file)
}
