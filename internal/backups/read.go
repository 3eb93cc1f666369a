package backups

import (
	"context"
	"fmt"
	"io"
)

// The parts of a backup, read whole. An error that IsMissing says that the object
// is missing; any other names the object.

// Metadata reads velero-backup.json.
func (l *Location) Metadata(ctx context.Context, backup string) (*Backup, error) {
	var b Backup
	err := l.read(ctx, backup, PartMetadata, func(r io.Reader) error { return decode(atMost(r, metadataLimit), &b) })
	return &b, err
}

// ResourceList reads the names of all items.
func (l *Location) ResourceList(ctx context.Context, backup string) (ResourceList, error) {
	return readList[ResourceList](ctx, l, backup, PartResourceList)
}

// Snapshots reads the list of native snapshots.
func (l *Location) Snapshots(ctx context.Context, backup string) ([]Snapshot, error) {
	return readList[[]Snapshot](ctx, l, backup, PartSnapshots)
}

// Volumes reads what is known of each volume.
func (l *Location) Volumes(ctx context.Context, backup string) ([]Volume, error) {
	return readList[[]Volume](ctx, l, backup, PartVolumes)
}

// PodVolumes reads the list of volumes that were saved file by file.
func (l *Location) PodVolumes(ctx context.Context, backup string) ([]PodVolume, error) {
	return readList[[]PodVolume](ctx, l, backup, PartPodVolumes)
}

// Operations reads what plugins did afterwards.
func (l *Location) Operations(ctx context.Context, backup string) ([]Operation, error) {
	return readList[[]Operation](ctx, l, backup, PartOperations)
}

// Results reads the errors and warnings.
func (l *Location) Results(ctx context.Context, backup string) (Results, error) {
	return readList[Results](ctx, l, backup, PartResults)
}

// RestoreResults reads the errors and warnings of a restore.
func (l *Location) RestoreResults(ctx context.Context, restore string) (results Results, err error) {
	const end = "-results.gz"
	object, err := l.store.GetObject(ctx, l.bucket, l.restoreKey(restore, end))
	if err != nil {
		return results, err
	}
	return results, named("restore-"+restore+end, object, func(r io.Reader) error { return decodeGzip(r, &results) })
}

// Check reads a list of which nothing more is known here to its end.
func (l *Location) Check(ctx context.Context, backup string, part Part) error {
	_, err := readList[[]struct{}](ctx, l, backup, part)
	return err
}

// readList reads a part that is one compressed JSON value.
func readList[T any](ctx context.Context, l *Location, backup string, part Part) (list T, err error) {
	err = l.read(ctx, backup, part, func(r io.Reader) error { return decodeGzip(r, &list) })
	return list, err
}

func (l *Location) read(ctx context.Context, backup string, part Part, do func(io.Reader) error) error {
	object, err := l.Open(ctx, backup, part)
	if err != nil {
		return err
	}
	return named(part.Object(backup), object, do)
}

// named reads an object and closes it. An error names the object; one of the
// storage comes before what the reader makes of it.
func named(name string, object io.ReadCloser, do func(io.Reader) error) error {
	defer object.Close()
	source := &source{Reader: object}
	err := do(source)
	if source.err != nil {
		err = source.err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// source keeps the error of reading.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF { // the end is io.EOF itself; a failure may wrap one
		s.err = err
	}
	return n, err
}
