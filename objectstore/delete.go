package objectstore

import (
	"context"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/listing"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// DeleteObject removes key. A key that is not there is no error; a bucket that
// is not there is one. With deleteVersions every version and delete marker goes.
func (s *Store) DeleteObject(ctx context.Context, bucket, key string) error {
	begun, op, remove := time.Now(), s3err.OpDelete, s.deleteCurrent
	if s.settings.DeleteVersions {
		op, remove = s3err.OpDeleteVersions, s.deleteVersions
	}
	versions, err := remove(ctx, bucket, key)
	if err != nil {
		return s.failed(op, bucket, key, err)
	}
	s.client.Summary("Deleted object", bucket, key, -1, begun, logrus.Fields{"versions": versions})
	return nil
}

func (s *Store) deleteCurrent(ctx context.Context, bucket, key string) (int, error) {
	return 1, s.client.Remove(ctx, bucket, key, minio.RemoveObjectOptions{})
}

// deleteVersions removes the latest version last, so that a deletion which is
// interrupted leaves the object as it is seen and is begun again.
func (s *Store) deleteVersions(ctx context.Context, bucket, key string) (int, error) {
	versions, err := listing.Versions(ctx, s.client, bucket, key)
	if err != nil {
		return 0, err
	}
	for _, version := range versions {
		err := s.client.Remove(ctx, bucket, key, minio.RemoveObjectOptions{
			VersionID:        version,
			GovernanceBypass: s.settings.BypassGovernance,
		})
		if err != nil {
			return 0, err
		}
	}
	return len(versions), nil
}
