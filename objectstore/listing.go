package objectstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
)

// ListCommonPrefixes returns each distinct start of a key, from the first
// character to the first delimiter behind prefix, delimiter included, sorted.
// A key that ends before a delimiter gives none; with an empty delimiter there
// are none. The list is complete, or there is an error.
func (s *Store) ListCommonPrefixes(ctx context.Context, bucket, prefix, delimiter string) ([]string, error) {
	start := time.Now()
	var prefixes []string
	err := s.list(ctx, bucket, prefix, delimiter == "/", func(key string) {
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
	err := s.list(ctx, bucket, prefix, false, func(key string) { keys = append(keys, key) })
	if err != nil {
		return nil, s.failed(opList, bucket, prefix, err)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	slices.Reverse(keys)
	s.summary("Listed objects", bucket, "", -1, start, logrus.Fields{"prefix": prefix, "count": len(keys)})
	return keys, nil
}

// listing is one listing under way. It goes on behind the last key it saw after
// a request that failed, so that a long listing does not begin again.
type listing struct {
	*Store
	bucket, prefix string
	folders        bool // let the server group keys by "/"
	v1             bool
	last           string
	each           func(key string)
}

// list calls each with every key under prefix; it may do so twice for some.
// With folders it gives pseudo-folders in place of the keys in them.
func (s *Store) list(ctx context.Context, bucket, prefix string, folders bool, each func(string)) error {
	l := &listing{Store: s, bucket: bucket, prefix: prefix, folders: folders, each: each, v1: s.settings.ListObjectsVersion == "1"}
	for {
		before := l.last
		err := s.retry(ctx, l.pages)
		switch {
		case err == nil:
			s.bucketOK.Store(bucket == s.settings.Bucket)
			return nil
		case classify(err) == KindUnsupported && !l.v1 && s.settings.ListObjectsVersion == "auto":
			l.v1 = true
		case ctx.Err() != nil || l.last == before || !passing(err):
			return err
		}
	}
}

// passing tells whether a failure may be over by the time of the next request.
func passing(err error) bool {
	switch classify(err) {
	case KindThrottled, KindServer, KindUnreachable, KindTimeout:
		return true
	}
	return false
}

// pages reads pages from behind the last key to the end.
func (l *listing) pages(ctx context.Context) error {
	ctx, cancel := context.WithCancel(withPages(expectXML(ctx, "ListBucketResult")))
	defer cancel()
	noOwner := false
	objects := l.client.ListObjectsIter(ctx, l.bucket, minio.ListObjectsOptions{
		Prefix:     l.prefix,
		Recursive:  !l.folders,
		UseV1:      l.v1,
		StartAfter: l.last,
		FetchOwner: &noOwner,
	})
	for o := range objects {
		if o.Err != nil {
			return o.Err
		}
		if !strings.HasPrefix(o.Key, l.prefix) {
			return faultf(KindNotS3, "the listing of %q shows the key %q", l.prefix, o.Key)
		}
		l.each(o.Key)
		l.last = max(l.last, o.Key)
	}
	// The iterator ends without a word when its context does.
	return context.Cause(ctx)
}
