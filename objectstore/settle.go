package objectstore

import (
	"context"
	"crypto/md5" //nolint:gosec // S3's ETag
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7"
)

// complete has the server put the parts together. An answer that was lost is
// looked up before the request is made again: the storage may have done the
// work, and then no longer knows the upload.
func (m *multipart) complete(ctx context.Context) error {
	ctx = withPatience(ctx, assembling)
	options, err := m.completeOptions()
	if err != nil {
		return err
	}
	lost := false
	return m.retry(ctx, func(ctx context.Context) error {
		if lost {
			if done, err := m.settled(ctx); done || err != nil {
				return err
			}
		}
		info, err := m.client.CompleteMultipartUpload(ctx, m.bucket, m.key, m.id, m.completeParts(), options)
		m.etag = info.ETag
		if err == nil || !ambiguous(err) {
			return err
		}
		lost = true
		return m.afterLost(ctx, err)
	})
}

// ambiguous tells whether a Complete that failed with err may have been carried
// out all the same.
func ambiguous(err error) bool {
	switch classify(err) {
	case KindTimeout, KindUnreachable, KindServer, KindThrottled, KindCanceled, KindNoUpload, KindUnknown:
		return true
	}
	return false
}

// afterLost looks at once what became of a Complete that failed with err.
func (m *multipart) afterLost(ctx context.Context, err error) error {
	done, lookErr := m.settled(ctx)
	switch {
	case done:
		return nil
	case classify(lookErr) == KindNotConfirmed:
		return lookErr
	case lookErr != nil:
		return fmt.Errorf("%w (%w; looking it up failed too: %s)", err, errUnsettled, causeText(lookErr))
	}
	return err
}

// settled tells whether the upload has become the object. It has if the server
// no longer knows the upload, and the object has the size that was sent and,
// where ETags show it, these very parts.
func (m *multipart) settled(ctx context.Context) (bool, error) {
	_, err := m.listParts(ctx)
	if err == nil {
		return false, nil
	}
	if !isGone(err) {
		return false, err
	}
	info, err := m.client.StatObject(ctx, m.bucket, m.key, m.readOptions())
	if err != nil && classify(err) != KindNotFound {
		return false, err
	}
	if err != nil || info.Size != m.source.size || !m.sameETag(info.ETag) {
		return false, faultf(KindNotConfirmed, "the storage no longer knows the multipart upload, and the object is not what was sent")
	}
	return true, nil
}

// sameETag compares etag with the one that S3 gives to an object of these
// parts, where both have that form.
func (m *multipart) sameETag(etag string) bool {
	expected := multipartETag(m.parts)
	sum, _, found := strings.Cut(etag, "-")
	if expected == "" || !found || !isMD5(sum) {
		return true
	}
	return etag == expected
}

// multipartETag is the MD5 of the parts' MD5s and their number, or "" where the
// parts' ETags are no MD5s.
func multipartETag(parts []minio.ObjectPart) string {
	all := md5.New() //nolint:gosec // see above
	for _, p := range parts {
		sum, err := hex.DecodeString(p.ETag)
		if err != nil || len(sum) != md5.Size {
			return ""
		}
		all.Write(sum)
	}
	return fmt.Sprintf("%x-%d", all.Sum(nil), len(parts))
}
