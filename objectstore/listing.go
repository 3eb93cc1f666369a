package objectstore

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// ListCommonPrefixes returns each distinct start of a key, from the first
// character to the first delimiter behind prefix, delimiter included, sorted.
// A key that ends before a delimiter gives none; with an empty delimiter there
// are none. The list is complete, or there is an error.
func (s *Store) ListCommonPrefixes(ctx context.Context, bucket, prefix, delimiter string) ([]string, error) {
	start := time.Now()
	var prefixes []string
	begin := func() { prefixes = nil }
	err := s.list(ctx, bucket, prefix, delimiter == "/", begin, func(key string) {
		if p, ok := commonPrefix(key, prefix, delimiter); ok {
			prefixes = append(prefixes, p)
		}
	})
	if err != nil {
		return nil, s.failed(opList, bucket, prefix, err)
	}
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	s.summary("Listed prefixes", bucket, "", -1, start, logrus.Fields{"prefix": prefix, "count": len(prefixes)})
	return prefixes, nil
}

func commonPrefix(key, prefix, delimiter string) (string, bool) {
	rest, under := strings.CutPrefix(key, prefix)
	end := strings.Index(rest, delimiter)
	if !under || delimiter == "" || end < 0 {
		return "", false
	}
	return key[:len(prefix)+end+len(delimiter)], true
}

// ListObjects returns every key that starts with prefix in reverse order, so
// that deleting in order removes the contents of a pseudo-folder before the
// pseudo-folder. The list is complete, or there is an error.
func (s *Store) ListObjects(ctx context.Context, bucket, prefix string) ([]string, error) {
	start := time.Now()
	var keys []string
	begin := func() { keys = nil }
	err := s.list(ctx, bucket, prefix, false, begin, func(key string) { keys = append(keys, key) })
	if err != nil {
		return nil, s.failed(opList, bucket, prefix, err)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	slices.Reverse(keys)
	s.summary("Listed objects", bucket, "", -1, start, logrus.Fields{"prefix": prefix, "count": len(keys)})
	return keys, nil
}

// list calls each with every key under prefix; it may do so twice for some. With
// folders it gives pseudo-folders in place of the keys in them. begin is called
// first, and again whenever the listing starts anew.
func (s *Store) list(ctx context.Context, bucket, prefix string, folders bool, begin func(), each func(string)) error {
	err := s.pager(bucket, prefix, folders, s.settings.ListObjectsVersion == "1").all(ctx, begin, eachName(each))
	if classify(err) == KindUnsupported && s.settings.ListObjectsVersion == "auto" {
		err = s.pager(bucket, prefix, folders, true).all(ctx, begin, eachName(each))
	}
	if err == nil {
		s.bucketOK.Store(bucket == s.settings.Bucket)
	}
	return err
}

func eachName(each func(string)) func(page) {
	return func(p page) {
		for _, o := range p.Contents {
			each(o.Key)
		}
		for _, folder := range p.CommonPrefixes {
			each(folder.Prefix)
		}
	}
}

// pager lists the bucket with S3's second call for that, or with the first.
func (s *Store) pager(bucket, prefix string, folders, v1 bool) *pager {
	p := &pager{Store: s, bucket: bucket, root: "ListBucketResult", after: byMarker, query: url.Values{
		"prefix": {prefix}, "delimiter": {""}, "max-keys": {"1000"},
	}}
	if folders {
		p.query.Set("delimiter", "/")
	}
	if !v1 {
		p.query.Set("list-type", "2")
		p.after = byToken
	}
	return p
}
