package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// probe proves, where writeProbe is set, that the location can be written, read
// and cleaned up. The object lies directly under the prefix: Velero refuses a
// location with folders it does not know, and takes no notice of objects.
func (s *Store) probe(ctx context.Context) (err error) {
	if !s.settings.WriteProbe {
		return nil
	}
	bucket, key := s.settings.Bucket, path.Join(s.settings.Prefix, ".longshore-write-probe-"+rand.Text())
	content := []byte("written by Longshore to see whether this location can be written\n")
	if err := s.PutObject(ctx, bucket, key, bytes.NewReader(content)); err != nil {
		return fmt.Errorf("write probe: %w", err)
	}
	defer func() { err = errors.Join(err, s.DeleteObject(ctx, bucket, key)) }()
	body, err := s.GetObject(ctx, bucket, key)
	if err != nil {
		return fmt.Errorf("write probe: %w", err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err == nil && !bytes.Equal(got, content) {
		err = s3err.Errorf(s3err.Corrupt, "write probe: %q in bucket %q was read back with other content", key, bucket)
	}
	return err
}
