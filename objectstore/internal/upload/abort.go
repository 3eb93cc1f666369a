package upload

import (
	"context"
	"fmt"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// abortTimeout bounds the removal of the parts of a failed upload, which goes on
// after the upload's context has ended.
const abortTimeout = 5 * time.Minute

// abort removes the parts, also when ctx has ended, and returns cause. Parts that
// it cannot remove take up space: the error names the upload, for who removes them
// by hand.
func (m *multipart) abort(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), abortTimeout,
		s3err.Errorf(s3err.Timeout, "not done after %v", abortTimeout))
	defer cancel()
	if err := m.discard(ctx); err != nil {
		return fmt.Errorf("%w; the parts sent so far could not be removed (upload ID %s): %s; a lifecycle rule AbortIncompleteMultipartUpload on the bucket removes them",
			cause, m.id, s3err.Text(err))
	}
	return cause
}

// discard removes the upload until the server does not know it: a part that was
// on its way when the upload was removed may have been kept.
func (m *multipart) discard(ctx context.Context) error {
	for range 3 {
		err := m.client.Abort(ctx, m.bucket, m.key, m.id)
		if isGone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if gone, err := m.gone(ctx); gone || err != nil {
			return nil //nolint:nilerr // gone, or a server that cannot tell
		}
	}
	return s3err.Errorf(s3err.NotConfirmed, "the storage goes on knowing the upload")
}
