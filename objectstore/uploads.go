package objectstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/listing"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/upload"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// Upload is a multipart upload that was begun and has not ended. Its parts take up
// space, and no listing of objects shows them.
type Upload = listing.Upload

// ListUploads returns the uploads of keys that begin with prefix which have not ended,
// those under way included. The list is complete, or there is an error; but there are
// storages that list only what they remember (MinIO, since its start).
func (s *Store) ListUploads(ctx context.Context, bucket, prefix string) ([]Upload, error) {
	begun := time.Now()
	found, err := listing.Uploads(ctx, s.client, bucket, prefix)
	if err == nil && len(found) == 0 && prefix != "" && !s.settings.Endpoint().AWS() {
		// MinIO takes a prefix for a whole key, and lists all for an empty one.
		found, err = listing.Uploads(ctx, s.client, bucket, "")
	}
	if err != nil {
		return nil, s.failed(s3err.OpList, bucket, prefix, err)
	}
	found = slices.DeleteFunc(found, func(u Upload) bool { return !strings.HasPrefix(u.Key, prefix) })
	s.client.Summary("Listed uploads", bucket, "", -1, begun, logrus.Fields{"prefix": prefix, "count": len(found)})
	return found, nil
}

// UploadSize returns how many bytes the parts of an upload have that has not ended.
// KindOf an error says KindNotFound if it has ended.
func (s *Store) UploadSize(ctx context.Context, bucket string, u Upload) (int64, error) {
	size := int64(0)
	for marker := 0; marker < upload.MaxParts; {
		var next int
		err := s.client.Do(ctx, client.Brief, func(ctx context.Context) error {
			found, err := s.client.ListObjectParts(wire.ExpectXML(ctx, "ListPartsResult", &struct{}{}), bucket, u.Key, u.ID, marker, 0)
			if err != nil {
				return err
			}
			for _, part := range found.ObjectParts {
				size += part.Size
			}
			next = upload.MaxParts
			if found.IsTruncated {
				next = found.NextPartNumberMarker
			}
			return nil
		})
		if s3err.KindOf(err) == s3err.NoUpload {
			err = s3err.Errorf(s3err.NotFound, "the upload has ended")
		}
		if err == nil && next <= marker {
			err = s3err.Errorf(s3err.NotS3, "the list of parts makes no progress")
		}
		if err != nil {
			return 0, s.failed(s3err.OpList, bucket, u.Key, err)
		}
		marker = next
	}
	return size, nil
}
