package objectstore

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
)

// sizeOf asks for the size of an object whose answer did not show it: by HEAD,
// by the range of its first byte, and by a listing. Proxies drop Content-Length.
// etag is what the object must have, if it is not "".
func (s *Store) sizeOf(ctx context.Context, bucket, key, etag string) (int64, error) {
	for _, ask := range []func(context.Context, string, string) (minio.ObjectInfo, error){s.head, s.headByRange, s.headByListing} {
		info, err := ask(ctx, bucket, key)
		switch {
		case ctx.Err() != nil:
			return -1, context.Cause(ctx)
		case err != nil || info.Size < 0:
		case etag != "" && info.ETag != "" && etag != info.ETag:
			return -1, faultf(KindChanged, "the ETag was %q and is %q", etag, info.ETag)
		default:
			return info.Size, nil
		}
	}
	return -1, faultf(KindNotConfirmed, "the size of the object is not to be learned: the storage, or a proxy, gives no Content-Length")
}

// headByRange learns from the range of one byte how many there are.
func (s *Store) headByRange(ctx context.Context, bucket, key string) (info minio.ObjectInfo, err error) {
	o := s.readOptions()
	o.Set("Range", "bytes=0-0")
	err = s.retry(ctx, func(ctx context.Context) error {
		body, found, header, err := s.client.GetObject(expectObject(ctx), bucket, key, o)
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

func (s *Store) headByListing(ctx context.Context, bucket, key string) (minio.ObjectInfo, error) {
	info := minio.ObjectInfo{Size: -1}
	p := s.pager(bucket, key, false, s.settings.ListObjectsVersion == "1")
	err := p.all(ctx, func() {}, func(found page) {
		for _, o := range found.Contents {
			if n, err := strconv.ParseInt(o.Size, 10, 64); err == nil && o.Key == key {
				info.Size, info.ETag = n, trimETag(o.ETag)
			}
		}
	})
	return info, err
}
