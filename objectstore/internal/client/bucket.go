package client

import (
	"context"
	"net/url"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// RequireBucket lists one key of the bucket, and fails unless the bucket is there.
// Credentials that may not list get the benefit of the doubt.
func (c *Client) RequireBucket(ctx context.Context, bucket string) error {
	values := url.Values{"prefix": {c.Prefix}, "delimiter": {""}, "max-keys": {"1"}}
	if c.Settings.ListObjectsVersion == "2" {
		values.Set("list-type", "2")
	}
	_, err := Query[struct{}](ctx, c, Brief, bucket, values, "ListBucketResult")
	if s3err.KindOf(err) == s3err.Forbidden {
		return nil
	}
	return err
}
