package objectstore

import (
	"context"
	"io"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/sirupsen/logrus"
)

// PutObject stores body under key, replacing what was there. It returns nil
// only when it has proof that the whole body is stored. When body fails with
// anything but io.EOF, or ctx ends, nothing is committed and no part stays
// behind, but where the storage was already putting the parts together. It does
// not close body.
func (s *Store) PutObject(ctx context.Context, bucket, key string, body io.Reader) error {
	begun := time.Now()
	stored, err := s.uploader.Put(ctx, bucket, key, body)
	if err != nil {
		return s.failed(s3err.OpPut, bucket, key, err)
	}
	s.client.Summary("Stored object", bucket, key, stored.Size, begun, logrus.Fields{"parts": stored.Parts})
	return nil
}
