package objectstore

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
)

// DeleteObject removes key. A key that is not there is no error; a bucket that
// is not there is one. With deleteVersions every version and delete marker goes.
func (s *Store) DeleteObject(ctx context.Context, bucket, key string) error {
	start := time.Now()
	remove := s.deleteCurrent
	if s.settings.DeleteVersions {
		remove = s.deleteVersions
	}
	versions, err := remove(ctx, bucket, key)
	if err != nil {
		return s.failed(opDelete, bucket, key, err)
	}
	s.summary("Deleted object", bucket, key, -1, start, logrus.Fields{"versions": versions})
	return nil
}

func (s *Store) deleteCurrent(ctx context.Context, bucket, key string) (int, error) {
	return 1, s.remove(ctx, bucket, key, minio.RemoveObjectOptions{})
}

func (s *Store) remove(ctx context.Context, bucket, key string, o minio.RemoveObjectOptions) error {
	err := s.retry(ctx, func(ctx context.Context) error {
		return s.client.RemoveObject(ctx, bucket, key, o)
	})
	switch {
	case isSuccess(err):
		return nil
	case classify(err) == KindNotFound:
		return s.requireBucket(ctx, bucket)
	}
	return err
}

// isSuccess knows the servers that answer 200 where S3 answers 204.
func isSuccess(err error) bool {
	var response minio.ErrorResponse
	return err == nil || errors.As(err, &response) && (response.StatusCode == http.StatusOK || response.StatusCode == http.StatusAccepted)
}

// deleteVersions removes the newest version last, so that an interrupted
// deletion leaves the object visible and is begun again.
func (s *Store) deleteVersions(ctx context.Context, bucket, key string) (int, error) {
	versions, err := s.versionsOf(ctx, bucket, key)
	if err != nil {
		return 0, err
	}
	for _, version := range versions {
		err := s.remove(ctx, bucket, key, minio.RemoveObjectOptions{
			VersionID:        version,
			GovernanceBypass: s.settings.BypassGovernance,
		})
		if err != nil {
			return 0, err
		}
	}
	return len(versions), nil
}

// versionsOf returns the versions and delete markers of key, the newest last.
func (s *Store) versionsOf(ctx context.Context, bucket, key string) (versions []string, err error) {
	latest := ""
	p := &pager{Store: s, bucket: bucket, root: "ListVersionsResult", after: byVersion, query: url.Values{
		"versions": {""}, "prefix": {key}, "max-keys": {"1000"},
	}}
	err = p.all(ctx, func() { versions, latest = nil, "" }, func(found page) {
		for _, v := range slices.Concat(found.Version, found.DeleteMarker) {
			switch {
			case v.Key != key:
			case strings.EqualFold(v.IsLatest, "true"):
				latest = v.VersionID
			default:
				versions = append(versions, v.VersionID)
			}
		}
	})
	if latest != "" {
		versions = append(versions, latest)
	}
	return versions, err
}
