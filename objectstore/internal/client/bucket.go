package client

import (
	"context"
	"net/url"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// RequireBucket returns nil when the bucket is known to be there. A HEAD has no
// body, so its 404 does not tell a missing key from a missing bucket or an
// unknown user; a listing does. Credentials that may not list get the benefit
// of the doubt.
func (c *Client) RequireBucket(ctx context.Context, bucket string) error {
	if c.bucketOK.Load() && bucket == c.Account.Bucket {
		return nil
	}
	err := c.ListOne(ctx, bucket)
	if err != nil && s3err.KindOf(err) != s3err.Forbidden {
		return err
	}
	if err == nil {
		c.BucketSeen(bucket)
	}
	return nil
}

// BucketSeen notes that a request found the bucket.
func (c *Client) BucketSeen(bucket string) {
	if bucket == c.Account.Bucket {
		c.bucketOK.Store(true)
	}
}

// ListOne lists one key of the bucket.
func (c *Client) ListOne(ctx context.Context, bucket string) error {
	values := url.Values{"prefix": {c.Prefix}, "delimiter": {""}, "max-keys": {"1"}}
	if c.Settings.ListObjectsVersion == "2" {
		values.Set("list-type", "2")
	}
	return c.Query(ctx, Brief, bucket, values, "ListBucketResult", &struct{}{})
}

// OrNoBucket returns err, or the error that says more where err only says that
// something was not found.
func (c *Client) OrNoBucket(ctx context.Context, bucket string, err error) error {
	if s3err.KindOf(err) != s3err.NotFound {
		return err
	}
	if noBucket := c.RequireBucket(ctx, bucket); s3err.KindOf(noBucket) == s3err.NoBucket {
		return noBucket
	}
	return err
}
