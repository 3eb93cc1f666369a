// Package listing lists a bucket: complete, or with an error. It takes nothing
// for granted that storages do not keep: neither the order of the names nor that
// a listing gets on.
package listing

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// pageSize is how many names a page may have, the most that S3 gives.
const pageSize = "1000"

// Names returns every key that begins with prefix, in the storage's order. With
// folders the storage groups keys by "/", and the common beginnings stand in place
// of the keys.
func Names(ctx context.Context, c *client.Client, bucket, prefix string, folders bool) ([]string, error) {
	version := c.Settings.ListObjectsVersion
	names, err := list(ctx, c, bucket, prefix, folders, version == "1")
	if s3err.KindOf(err) == s3err.Unsupported && version == "auto" {
		names, err = list(ctx, c, bucket, prefix, folders, true)
	}
	return names, err
}

// list uses S3's second call for listings, or the first.
func list(ctx context.Context, c *client.Client, bucket, prefix string, folders, v1 bool) (names []string, err error) {
	p := &pager{client: c, bucket: bucket, root: "ListBucketResult", after: byMarker, query: url.Values{
		"prefix": {prefix}, "delimiter": {""}, "max-keys": {pageSize},
	}}
	if folders {
		p.query.Set("delimiter", "/")
	}
	if !v1 {
		p.query.Set("list-type", "2")
		p.after = byToken
	}
	err = p.all(ctx, func() { names = nil }, func(found page) {
		for _, o := range found.Contents {
			names = append(names, o.Key)
		}
		for _, f := range found.CommonPrefixes {
			names = append(names, f.Prefix)
		}
	})
	return names, err
}

// Versions returns the IDs of the versions and delete markers of key, the latest
// at the end.
func Versions(ctx context.Context, c *client.Client, bucket, key string) (versions []string, err error) {
	p := &pager{client: c, bucket: bucket, root: "ListVersionsResult", after: byVersion, query: url.Values{
		"versions": {""}, "prefix": {key}, "max-keys": {pageSize},
	}}
	var latest []string
	err = p.all(ctx, func() { versions, latest = nil, nil }, func(found page) {
		for _, v := range slices.Concat(found.Version, found.DeleteMarker) {
			switch {
			case v.Key != key:
			case strings.EqualFold(v.IsLatest, "true"):
				latest = append(latest, v.VersionID)
			default:
				versions = append(versions, v.VersionID)
			}
		}
	})
	return append(versions, latest...), err
}

// Upload is a multipart upload that has not ended.
type Upload struct {
	Key, ID string
	Begun   time.Time // zero if the storage does not say
}

// Uploads returns the uploads of keys that begin with prefix which have not ended.
func Uploads(ctx context.Context, c *client.Client, bucket, prefix string) (uploads []Upload, err error) {
	p := &pager{client: c, bucket: bucket, root: "ListMultipartUploadsResult", after: byUpload, query: url.Values{
		"uploads": {""}, "prefix": {prefix}, "max-uploads": {pageSize},
	}}
	err = p.all(ctx, func() { uploads = nil }, func(found page) {
		for _, u := range found.Upload {
			begun, _ := time.Parse(time.RFC3339, u.Initiated) // zero if it is in an odd form
			uploads = append(uploads, Upload{u.Key, u.UploadID, begun})
		}
	})
	return uploads, err
}
