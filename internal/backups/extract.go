package backups

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// WriteArchive writes the archive of a backup to w as it is stored, or with paths
// what is at these paths in it: the content of a path that is a file if it is the
// only one, else an archive of the same kind. All of the archive is read and
// checked in any case. A path at which nothing is, is an error.
func (l *Location) WriteArchive(ctx context.Context, w io.Writer, backup string, paths []string) error {
	if len(paths) == 0 {
		return l.copyArchive(ctx, w, backup)
	}
	e := &extract{w: w, found: map[string]bool{}}
	for _, path := range paths {
		e.paths = append(e.paths, strings.Trim(path, "/"))
	}
	if err := l.Archive(ctx, backup, e.take); err != nil {
		return err
	}
	return e.end()
}

// copyArchive reads the archive as it passes.
func (l *Location) copyArchive(ctx context.Context, w io.Writer, backup string) error {
	return l.read(ctx, backup, PartArchive, func(r io.Reader) error {
		unzipped, err := gzip.NewReader(io.TeeReader(r, w))
		if err != nil {
			return gzipError(err)
		}
		return readTar(&ending{r: unzipped}, func(Entry) error { return ctx.Err() })
	})
}

// extract takes some files of an archive.
type extract struct {
	w     io.Writer
	paths []string
	found map[string]bool // the paths at which something is
	gzip  *gzip.Writer
	tar   *tar.Writer
}

func (e *extract) take(entry Entry) error {
	wanted := false
	for _, path := range e.paths {
		if entry.Path == path || strings.HasPrefix(entry.Path, path+"/") {
			e.found[path], wanted = true, true
		}
	}
	switch {
	case !wanted:
		return nil
	case len(e.paths) == 1 && entry.Path == e.paths[0]:
		_, err := io.Copy(e.w, entry.Content)
		return err
	}
	return e.add(entry)
}

func (e *extract) add(entry Entry) error {
	if e.tar == nil {
		e.gzip = gzip.NewWriter(e.w)
		e.tar = tar.NewWriter(e.gzip)
	}
	const readable = 0o644
	header := &tar.Header{Name: entry.Path, Size: entry.Size, ModTime: entry.ModTime, Mode: readable, Typeflag: tar.TypeReg}
	if err := e.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(e.tar, entry.Content)
	return err
}

func (e *extract) end() error {
	var missing []string
	for _, path := range e.paths {
		if !e.found[path] {
			missing = append(missing, path)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("nothing in the archive is at %s; `download` without a path has all of it", strings.Join(missing, ", "))
	}
	if e.tar == nil {
		return nil
	}
	return errors.Join(e.tar.Close(), e.gzip.Close())
}
