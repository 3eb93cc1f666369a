package objectstore

import (
	"context"
	"net/url"

	"github.com/minio/minio-go/v7"
)

// ObjectExists reports whether key is there. A missing bucket, a key that may
// not be read and a server that is no S3 server are errors: "no" makes Velero
// act as if the backup had never been.
func (s *Store) ObjectExists(ctx context.Context, bucket, key string) (bool, error) {
	_, err := s.head(ctx, bucket, key)
	if classify(err) == KindNotFound {
		err = s.requireBucket(ctx, bucket)
		if err == nil {
			return false, nil
		}
	}
	if err != nil {
		return false, s.failed(opExists, bucket, key, s.explained(ctx, bucket, err))
	}
	return true, nil
}

// explained returns err, or what the storage says of another request where it
// says more: the refusal of a HEAD has no body, and so no reason.
func (s *Store) explained(ctx context.Context, bucket string, err error) error {
	silent := func(err error) bool {
		kind := classify(err)
		return kind == KindUnknown || kind == KindForbidden
	}
	if !silent(err) {
		return err
	}
	if said := s.listOne(ctx, bucket); said != nil && !silent(said) {
		return said
	}
	return err
}

// stat looks at an object. Its size is known, or there is an error.
func (s *Store) stat(ctx context.Context, bucket, key string) (minio.ObjectInfo, error) {
	info, err := s.head(ctx, bucket, key)
	if err == nil && info.Size < 0 {
		info.Size, err = s.sizeOf(ctx, bucket, key, info.ETag)
	}
	return info, err
}

func (s *Store) head(ctx context.Context, bucket, key string) (info minio.ObjectInfo, err error) {
	err = s.retry(ctx, func(ctx context.Context) (err error) {
		info, err = s.client.StatObject(ctx, bucket, key, s.readOptions())
		return err
	})
	return info, err
}

// requireBucket returns nil when the bucket is known to be there. A HEAD has no
// body, so its 404 does not tell a missing key from a missing bucket or an
// unknown user; a listing does. Credentials that may not list get the benefit
// of the doubt.
func (s *Store) requireBucket(ctx context.Context, bucket string) error {
	if s.bucketOK.Load() && bucket == s.settings.Bucket {
		return nil
	}
	err := s.retry(ctx, func(ctx context.Context) error { return s.listOne(ctx, bucket) })
	if err != nil && classify(err) != KindForbidden {
		return err
	}
	s.bucketOK.Store(err == nil && bucket == s.settings.Bucket)
	return nil
}

// listOne lists one key of the bucket.
func (s *Store) listOne(ctx context.Context, bucket string) error {
	values := url.Values{"prefix": {s.settings.Prefix}, "delimiter": {""}, "max-keys": {"1"}}
	if s.settings.ListObjectsVersion == "2" {
		values.Set("list-type", "2")
	}
	return s.query(ctx, bucket, values, "ListBucketResult", &page{})
}

// orNoBucket returns err, or the error that says more where err only says that
// something was not found.
func (s *Store) orNoBucket(ctx context.Context, bucket string, err error) error {
	if classify(err) != KindNotFound {
		return err
	}
	if noBucket := s.requireBucket(ctx, bucket); classify(noBucket) == KindNoBucket {
		return noBucket
	}
	return err
}
