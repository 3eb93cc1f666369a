package objectstore

import (
	"context"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// ObjectExists reports whether key is there. A missing bucket, a key that may
// not be read and a server that is no S3 server are errors: "no" makes Velero
// act as if the backup had never been.
func (s *Store) ObjectExists(ctx context.Context, bucket, key string) (bool, error) {
	_, err := s.client.Head(ctx, client.Brief, bucket, key)
	if s3err.KindOf(err) == s3err.NotFound {
		err = s.client.RequireBucket(ctx, bucket)
		if err == nil {
			return false, nil
		}
	}
	if err != nil {
		return false, s.failed(s3err.OpExists, bucket, key, s.explained(ctx, bucket, err))
	}
	return true, nil
}

// explained returns err, or what the storage says of another request where it
// says more: the refusal of a HEAD has no body, and so no reason.
func (s *Store) explained(ctx context.Context, bucket string, err error) error {
	silent := func(err error) bool {
		kind := s3err.KindOf(err)
		return kind == s3err.Unknown || kind == s3err.Forbidden
	}
	if !silent(err) {
		return err
	}
	if said := s.client.ListOne(ctx, bucket); said != nil && !silent(said) {
		return said
	}
	return err
}
