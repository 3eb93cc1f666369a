package objectstore

import (
	"context"
	"io"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// GetObject opens key for reading. ctx also bounds the reads. The reader gives
// io.EOF only after the last byte of the object; it never gives (0, nil) for a
// buffer that is not empty. An object that changes while it is read, a body whose
// end is not proven and, with verifyDownloads, content that is not what the storage
// says it is are errors. The caller closes the reader.
func (s *Store) GetObject(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
	r, err := s.downloader.Open(ctx, bucket, key)
	if err != nil {
		return nil, s.failed(s3err.OpGet, bucket, key, s.client.OrNoBucket(ctx, bucket, err))
	}
	return r, nil
}
