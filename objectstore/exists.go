package objectstore

import (
	"context"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// ObjectExists reports whether key is there. A missing bucket, a key that may
// not be read and a server that is no S3 server are errors: "no" makes Velero
// act as if the backup had never been.
func (s *Store) ObjectExists(ctx context.Context, bucket, key string) (bool, error) {
	_, err := s.client.Head(ctx, client.Brief, bucket, key)
	switch s3err.KindOf(err) {
	case s3err.NotFound, s3err.Forbidden, s3err.Unknown:
		err = s.readable(ctx, bucket, key)
	}
	switch {
	case s3err.KindOf(err) == s3err.NotFound:
		return false, nil
	case err != nil:
		return false, s.failed(s3err.OpExists, bucket, key, err)
	}
	return true, nil
}

// readable returns nil if a GET of key is answered with an object, and otherwise
// what the storage says. The answer to a HEAD has no body: its 404 may be that of a
// proxy, or mean the bucket, and its 403 has no reason.
func (s *Store) readable(ctx context.Context, bucket, key string) error {
	return s.client.Do(ctx, client.Brief, func(ctx context.Context) error {
		body, _, _, err := s.client.GetObject(wire.ExpectObject(ctx), bucket, key, s.client.ReadOptions())
		if err == nil {
			_ = body.Close()
		}
		return err
	})
}
