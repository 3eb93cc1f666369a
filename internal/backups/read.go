package backups

import (
	"context"
	"errors"
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
	var list ResourceList
	err := l.readList(ctx, backup, PartResourceList, &list)
	return list, err
}

// Snapshots reads the list of native snapshots.
func (l *Location) Snapshots(ctx context.Context, backup string) ([]Snapshot, error) {
	var list []Snapshot
	err := l.readList(ctx, backup, PartSnapshots, &list)
	return list, err
}

// Volumes reads what is known of each volume.
func (l *Location) Volumes(ctx context.Context, backup string) ([]Volume, error) {
	var list []Volume
	err := l.readList(ctx, backup, PartVolumes, &list)
	return list, err
}

// PodVolumes reads the list of volumes that were saved file by file.
func (l *Location) PodVolumes(ctx context.Context, backup string) ([]PodVolume, error) {
	var list []PodVolume
	err := l.readList(ctx, backup, PartPodVolumes, &list)
	return list, err
}

// Operations reads what plugins did afterwards.
func (l *Location) Operations(ctx context.Context, backup string) ([]Operation, error) {
	var list []Operation
	err := l.readList(ctx, backup, PartOperations, &list)
	return list, err
}

// Results reads the errors and warnings.
func (l *Location) Results(ctx context.Context, backup string) (Results, error) {
	var results Results
	err := l.readList(ctx, backup, PartResults, &results)
	return results, err
}

// Check reads a list of which nothing more is known here to its end.
func (l *Location) Check(ctx context.Context, backup string, part Part) error {
	var anything []struct{}
	return l.readList(ctx, backup, part, &anything)
}

func (l *Location) readList(ctx context.Context, backup string, part Part, into any) error {
	return l.read(ctx, backup, part, func(r io.Reader) error { return decodeGzip(r, into) })
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
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
