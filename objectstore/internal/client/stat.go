package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// Stat looks at an object. Its size is known, or there is an error.
func (c *Client) Stat(ctx context.Context, effort Effort, bucket, key string) (minio.ObjectInfo, error) {
	info, err := c.Head(ctx, effort, bucket, key)
	if err == nil && info.Size < 0 {
		info.Size, err = c.Size(ctx, effort, bucket, key, info.ETag)
	}
	return info, err
}

// Head looks at an object. Its size is -1 where the answer does not show it:
// there are proxies that drop Content-Length.
func (c *Client) Head(ctx context.Context, effort Effort, bucket, key string) (info minio.ObjectInfo, err error) {
	err = c.Do(ctx, effort, func(ctx context.Context) error {
		info, err = c.StatObject(ctx, bucket, key, c.ReadOptions())
		return err
	})
	return info, err
}

// Size learns the size of an object whose answer did not show it: by HEAD, by
// the range of its first byte, and by a listing. etag is what the object must
// have, if it is not "".
func (c *Client) Size(ctx context.Context, effort Effort, bucket, key, etag string) (int64, error) {
	for _, look := range []func(context.Context, Effort, string, string) (minio.ObjectInfo, error){c.Head, c.headByRange, c.headByListing} {
		info, err := look(ctx, effort, bucket, key)
		switch {
		case ctx.Err() != nil:
			return -1, context.Cause(ctx)
		case err != nil || info.Size < 0:
		case etag != "" && info.ETag != "" && etag != info.ETag:
			return -1, s3err.Errorf(s3err.Changed, "the ETag was %q and is %q", etag, info.ETag)
		default:
			return info.Size, nil
		}
	}
	return -1, s3err.Errorf(s3err.NotConfirmed, "how large the object is cannot be learned: the storage, or a proxy before it, gives no Content-Length")
}

func (c *Client) headByRange(ctx context.Context, effort Effort, bucket, key string) (info minio.ObjectInfo, err error) {
	o := c.ReadOptions()
	o.Set("Range", "bytes=0-0")
	err = c.Do(ctx, effort, func(ctx context.Context) error {
		body, found, header, err := c.GetObject(wire.ExpectObject(ctx), bucket, key, o)
		if err != nil {
			return err
		}
		info = found
		info.Size = totalOf(header)
		return body.Close()
	})
	return info, err
}

// totalOf is the size of the whole object in the header of a ranged answer, -1
// if it does not say.
func totalOf(h http.Header) int64 {
	_, total, _ := strings.Cut(h.Get("Content-Range"), "/")
	n, err := strconv.ParseInt(total, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func (c *Client) headByListing(ctx context.Context, effort Effort, bucket, key string) (minio.ObjectInfo, error) {
	type page struct {
		Contents []struct{ Key, Size, ETag string }
	}
	values := url.Values{"prefix": {key}, "delimiter": {""}, "max-keys": {"1000"}}
	if c.Settings.ListObjectsVersion != "1" {
		values.Set("list-type", "2")
	}
	info := minio.ObjectInfo{Size: -1}
	found, err := Query[page](ctx, c, effort, bucket, values, "ListBucketResult")
	for _, o := range found.Contents {
		if n, err := strconv.ParseInt(o.Size, 10, 64); err == nil && o.Key == key {
			info.Size, info.ETag = n, strings.Trim(strings.TrimPrefix(o.ETag, "W/"), `"`)
		}
	}
	return info, err
}
