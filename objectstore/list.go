package objectstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/listing"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// ListCommonPrefixes returns each distinct start of a key, from the first
// character to the first delimiter behind prefix, delimiter included, sorted.
// A key that ends before a delimiter gives none; with an empty delimiter there
// are none. The list is complete, or there is an error.
func (s *Store) ListCommonPrefixes(ctx context.Context, bucket, prefix, delimiter string) ([]string, error) {
	begun := time.Now()
	names, err := listing.Names(ctx, s.client, bucket, prefix, delimiter == "/")
	if err != nil {
		return nil, s.failed(s3err.OpList, bucket, prefix, err)
	}
	var prefixes []string
	for _, name := range names {
		if p, ok := commonPrefix(name, prefix, delimiter); ok {
			prefixes = append(prefixes, p)
		}
	}
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	s.client.Summary("Listed prefixes", bucket, "", -1, begun, logrus.Fields{"prefix": prefix, "count": len(prefixes)})
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
	begun := time.Now()
	keys, err := listing.Names(ctx, s.client, bucket, prefix, false)
	if err != nil {
		return nil, s.failed(s3err.OpList, bucket, prefix, err)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	slices.Reverse(keys)
	s.client.Summary("Listed objects", bucket, "", -1, begun, logrus.Fields{"prefix": prefix, "count": len(keys)})
	return keys, nil
}
