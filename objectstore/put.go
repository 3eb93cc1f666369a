package objectstore

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/upload"
	"github.com/sirupsen/logrus"
)

// PutObject stores body under key, encrypted where the location has public keys,
// replacing what was there. It returns nil only when it has proof that the whole
// body is stored. When body fails with anything but io.EOF, or ctx ends, nothing is
// committed and no part stays behind, but where the storage was already putting the
// parts together. It does not close body.
func (s *Store) PutObject(ctx context.Context, bucket, key string, body io.Reader) error {
	begun := time.Now()
	stored, err := s.put(ctx, bucket, key, body)
	if err != nil {
		return s.failed(s3err.OpPut, bucket, key, err)
	}
	s.client.Summary("Stored object", bucket, key, stored.Size, begun, logrus.Fields{"parts": stored.Parts})
	return nil
}

func (s *Store) put(ctx context.Context, bucket, key string, body io.Reader) (upload.Result, error) {
	stored, err := s.keys.Encrypt(s.nameOf(key), body)
	if err != nil {
		return upload.Result{}, err
	}
	return s.uploader.Put(ctx, bucket, key, stored)
}

// nameOf is the key relative to the location's prefix, by which an encrypted
// object is known: a bucket or prefix that was copied as a whole can be read.
func (s *Store) nameOf(key string) string {
	if prefix := strings.Trim(s.settings.Prefix, "/"); prefix != "" {
		key = strings.TrimPrefix(key, prefix+"/")
	}
	return key
}
