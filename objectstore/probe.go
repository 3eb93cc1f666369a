package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

const (
	// probeLimit bounds a write probe: Velero looks at its locations one after another.
	probeLimit = 30 * time.Second
	// removalLimit bounds the removal of what it stored, which goes on after that.
	removalLimit = 10 * time.Second
)

// probe proves, where writeProbe is set, that the location can be written, read
// and cleaned up. The object lies directly under the prefix: Velero refuses a
// location with folders it does not know, and takes no notice of objects. Where
// the bucket is versioned its only version is removed, so that nothing is left.
func (s *Store) probe(ctx context.Context, limit time.Duration) (err error) {
	if !s.settings.WriteProbe {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, s3err.Errorf(s3err.Timeout, "not done after %v", limit))
	defer cancel()
	bucket, key := s.settings.Bucket, path.Join(s.settings.Prefix, ".longshore-write-probe-"+rand.Text())
	content := []byte("written by Longshore to see whether this location can be written\n")
	stored, err := s.put(ctx, bucket, key, bytes.NewReader(content))
	if err != nil {
		_ = s.removeProbe(ctx, key, stored.Version) // it may be stored all the same
		return fmt.Errorf("write probe: %w", s.failed(s3err.OpPut, bucket, key, err))
	}
	defer func() { err = errors.Join(err, s.removeProbe(ctx, key, stored.Version)) }()
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

// removeProbe removes the object of a probe, also when ctx has ended.
func (s *Store) removeProbe(ctx context.Context, key, version string) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), removalLimit, s3err.Errorf(s3err.Timeout, "not done after %v", removalLimit))
	defer cancel()
	err := s.client.Remove(ctx, s.settings.Bucket, key, minio.RemoveObjectOptions{VersionID: version})
	if err == nil {
		return nil
	}
	op := s3err.OpDelete
	if version != "" {
		op = s3err.OpDeleteVersion
	}
	return fmt.Errorf("write probe: %w; the object %q stays behind at each probe: do without writeProbe in a bucket that keeps or locks versions",
		s.failed(op, s.settings.Bucket, key, err), key)
}
