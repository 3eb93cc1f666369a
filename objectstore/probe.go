package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// probe proves, where writeProbe is set, that the location can be written, read
// and cleaned up. The object lies directly under the prefix: Velero refuses a
// location with folders it does not know, and takes no notice of objects. Where
// the bucket is versioned its only version is removed, so that nothing is left.
func (s *Store) probe(ctx context.Context) (err error) {
	if !s.settings.WriteProbe {
		return nil
	}
	bucket, key := s.settings.Bucket, path.Join(s.settings.Prefix, ".longshore-write-probe-"+rand.Text())
	content := []byte("written by Longshore to see whether this location can be written\n")
	stored, err := s.put(ctx, bucket, key, bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("write probe: %w", s.failed(s3err.OpPut, bucket, key, err))
	}
	defer func() {
		if failed := s.client.Remove(ctx, bucket, key, minio.RemoveObjectOptions{VersionID: stored.Version}); failed != nil {
			op := s3err.OpDelete
			if stored.Version != "" {
				op = s3err.OpDeleteVersion
			}
			failed = s.failed(op, bucket, key, failed)
			err = errors.Join(err, fmt.Errorf("write probe: %w; the object %q stays behind at each probe: do without writeProbe in a bucket that keeps or locks versions", failed, key))
		}
	}()
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
