package backups

import (
	"compress/gzip"
	"context"
	"io"
	"slices"
)

// WriteLog writes the log of a backup to w.
func (l *Location) WriteLog(ctx context.Context, w io.Writer, backup string) error {
	return l.read(ctx, backup, PartLog, func(r io.Reader) error { return unzip(w, r) })
}

// WriteRestoreLog writes the log of a restore to w.
func (l *Location) WriteRestoreLog(ctx context.Context, w io.Writer, restore string) error {
	object, err := l.store.GetObject(ctx, l.bucket, l.restoreLogKey(restore))
	if IsMissing(err) {
		names, err := l.Restores(ctx)
		if err == nil && !slices.Contains(names, restore) {
			err = missing("restore", restore, names)
		}
		if err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return named("restore-"+restore+"-logs.gz", object, func(r io.Reader) error { return unzip(w, r) })
}

func unzip(w io.Writer, r io.Reader) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return gzipError(err)
	}
	_, err = io.Copy(w, unzipped) //nolint:gosec // nothing of it is kept
	return gzipError(err)
}
