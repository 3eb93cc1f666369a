package upload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// assembling is how long a server may take to put the parts together.
const assembling = 10 * time.Minute

// complete has the server put the parts together, and looks at the object. An
// answer that was lost is looked up before the request is made again: the storage
// may have done the work, and then no longer knows the upload. As long as that is
// in doubt nothing is removed, and the object is looked at before there is an error:
// the storage may do the work while it refuses the next request.
func (m *multipart) complete(ctx context.Context) error {
	var answer minio.UploadInfo
	doubt := false
	err := m.commit(ctx, func(ctx context.Context) error {
		options, err := m.completeOptions()
		if err != nil {
			return err
		}
		return m.client.Do(wire.WithAnswerTime(ctx, assembling), client.Content, func(ctx context.Context) error {
			if doubt {
				if gone, err := m.gone(ctx); gone || err != nil {
					return err
				}
			}
			answer, err = m.client.CompleteMultipartUpload(ctx, m.bucket, m.key, m.id, m.completeParts(), options)
			doubt = doubt || err != nil && m.inDoubt(err)
			return err
		})
	})
	switch {
	case err != nil && doubt && m.confirm(ctx, multipartETag(m.parts), false) == nil:
		return nil
	case err != nil && doubt:
		return fmt.Errorf("%w; whether the storage put the parts together is not known, so they were left alone (upload ID %s)", err, m.id)
	case err != nil:
		return m.abort(ctx, err)
	case doubt && answer.ETag == "":
		if err := m.confirm(ctx, multipartETag(m.parts), false); err != nil {
			return fmt.Errorf("the answer to completing the upload was lost, and the storage no longer knows the upload: %w", err)
		}
		return nil
	}
	if m.proves(answer) {
		return nil
	}
	return m.confirm(ctx, answer.ETag, true)
}

// proves tells whether the answer to Complete has the checksum of the whole object
// that was computed here: the storage has put together what was sent. An ETag is
// computed from those of the parts, and says nothing of the object's bytes.
func (m *multipart) proves(answer minio.UploadInfo) bool {
	if m.sse != nil || m.checksum != minio.ChecksumCRC64NVME || answer.ChecksumCRC64NVME == "" {
		return false
	}
	whole, err := m.checksum.FullObjectChecksum(m.parts)
	return err == nil && whole.Encoded() == answer.ChecksumCRC64NVME
}

// inDoubt tells whether a request that failed with err may have been carried
// out all the same. What S3 refuses for the request's own sake was not.
func (u *upload) inDoubt(err error) bool {
	var answer *s3err.Answer
	switch s3err.KindOf(err) {
	case s3err.Server, s3err.Throttled, s3err.NoUpload:
		return true
	case s3err.NotFound:
		return u.replaces == "" // else it is the object that If-Match is about
	case s3err.Full:
		return false
	}
	return !errors.As(err, &answer) || answer.Status/100 != 4
}

// gone tells whether the server does not know the upload any more.
func (m *multipart) gone(ctx context.Context) (bool, error) {
	_, err := m.client.ListObjectParts(wire.ExpectXML(ctx, "ListPartsResult", &struct{}{}), m.bucket, m.key, m.id, 0, 1)
	if isGone(err) {
		return true, nil
	}
	return false, err
}

// isGone tells whether err says that the server does not know an upload.
func isGone(err error) bool {
	kind := s3err.KindOf(err)
	return kind == s3err.NoUpload || kind == s3err.NotFound
}
