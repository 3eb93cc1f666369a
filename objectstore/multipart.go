package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
)

const (
	// abortTimeout bounds the removal of the parts of a failed upload, which
	// goes on after the upload's context has ended.
	abortTimeout = time.Minute
	// grace is how long requests on their way may go on after their upload has
	// failed. A part whose request is cut off may be stored after the abort, and
	// an upload whose ID did not arrive cannot be aborted.
	grace = 5 * time.Second
	// assembling is how long a server may take to put the parts together.
	assembling = 10 * time.Minute
)

// multipart is a multipart upload under way.
type multipart struct {
	*upload
	begun  chan struct{} // closed when id is set, or cannot be
	id     string
	etag   string        // of the whole, once complete
	slots  chan struct{} // one for each part that may be sent at a time
	cancel context.CancelCauseFunc
	wait   sync.WaitGroup

	mu    sync.Mutex
	parts []minio.ObjectPart // by number
}

// multipart stores a body that goes on behind its first part.
func (u *upload) multipart(ctx context.Context, first *part) error {
	m := &multipart{upload: u, slots: make(chan struct{}, u.settings.UploadConcurrency), begun: make(chan struct{})}
	err := m.sendAll(ctx, first)
	u.count = len(m.parts)
	if m.id == "" {
		return err
	}
	if err == nil {
		err = m.complete(ctx)
	}
	if err != nil {
		return m.abort(ctx, err)
	}
	return u.confirm(ctx, m.etag)
}

func (m *multipart) create(ctx context.Context) error {
	attempts := 0
	err := m.retry(ctx, func(ctx context.Context) (err error) {
		attempts++
		ctx, cancel := outliving(ctx, grace)
		defer cancel()
		m.id, err = m.client.NewMultipartUpload(expectXML(ctx, "InitiateMultipartUpload"), m.bucket, m.key, m.multipartOptions())
		if err == nil && m.id == "" {
			err = faultf(KindNotS3, "the storage began a multipart upload and gave no upload ID")
		}
		return err
	})
	if attempts > 1 {
		m.dropOrphans(ctx)
	}
	return err
}

// dropOrphans removes the uploads that a lost answer to create has left: those
// of the same key that are not this one.
func (m *multipart) dropOrphans(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	uploads, err := m.client.ListMultipartUploads(expectXML(ctx, "ListMultipartUploadsResult"), m.bucket, m.key, "", "", "", 100)
	for _, u := range uploads.Uploads {
		if u.Key == m.key && u.UploadID != m.id {
			err = errors.Join(err, m.client.AbortMultipartUpload(ctx, m.bucket, m.key, u.UploadID))
		}
	}
	if err != nil {
		m.log.WithFields(logrus.Fields{"bucket": m.bucket, "key": m.key, "error": m.secrets.Redact(err.Error())}).
			Warn("An empty multipart upload may have stayed behind")
	}
}

// sendAll reads the body and sends its parts. It returns when no part is being
// sent any more, also when it fails. The body is read while the upload is
// created.
func (m *multipart) sendAll(ctx context.Context, first *part) error {
	sending, cancel := context.WithCancelCause(ctx)
	m.cancel = cancel
	defer cancel(nil)
	m.inBackground("create the multipart upload", func() error {
		defer close(m.begun)
		return m.create(sending)
	})
	err := m.readAndSend(sending, first)
	if err != nil {
		cancel(err)
	}
	m.wait.Wait()
	if cause := context.Cause(sending); cause != nil {
		return cause
	}
	return err
}

// inBackground runs step on a goroutine of its own. If it fails, the upload does.
// A panic is an error, too: on such a goroutine it would end the plugin.
func (m *multipart) inBackground(name string, step func() error) {
	m.wait.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				m.cancel(fmt.Errorf("%s: panic: %v\n%s", name, r, debug.Stack()))
			}
		}()
		if err := step(); err != nil {
			m.cancel(err)
		}
	})
}

func (m *multipart) readAndSend(ctx context.Context, p *part) error {
	for number := 2; ; number++ {
		if err := m.start(ctx, p); err != nil {
			return err
		}
		next, more, err := m.next(ctx, number)
		if err != nil {
			return err
		}
		if !more {
			return m.start(ctx, next)
		}
		p = next
	}
}

// start sends p in the background, as soon as there is a slot.
func (m *multipart) start(ctx context.Context, p *part) error {
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		p.release()
		return context.Cause(ctx)
	}
	m.mu.Lock()
	m.parts = append(m.parts, minio.ObjectPart{})
	m.mu.Unlock()
	m.inBackground(fmt.Sprintf("send part %d", p.number), func() error {
		defer func() { <-m.slots }()
		defer p.release()
		return m.send(ctx, p)
	})
	return nil
}

func (m *multipart) send(ctx context.Context, p *part) error {
	body := m.seal(p.data())
	<-m.begun
	if m.id == "" || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var sent minio.ObjectPart
	err := m.retry(ctx, func(ctx context.Context) error {
		ctx, cancel := outliving(ctx, grace)
		defer cancel()
		return body.send(func(r io.Reader) (err error) {
			sent, err = m.client.PutObjectPart(ctx, m.bucket, m.key, m.id, p.number, r, int64(p.length), m.partOptions(body))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("part %d: %w", p.number, err)
	}
	if sent.ETag == "" {
		return faultf(KindNotS3, "part %d: the storage took the part and gave no ETag", p.number)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[p.number-1] = sent
	return nil
}

// outliving returns a context that ends so long after ctx does.
func outliving(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(by, func() { cancel(context.Cause(ctx)) })
	})
	return longer, func() {
		stop()
		cancel(nil)
	}
}

// abort removes the parts, also when ctx has ended, and returns cause. Parts
// that it cannot remove are part of the error: they take up space.
func (m *multipart) abort(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), abortTimeout,
		faultf(KindTimeout, "not done after %v", abortTimeout))
	defer cancel()
	if err := m.discard(ctx); err != nil {
		return &leftover{cause: cause, abort: err, id: m.id}
	}
	return cause
}

// discard removes the upload until the server does not know it: a part that was
// on its way when the upload was removed may have been kept.
func (m *multipart) discard(ctx context.Context) error {
	for range 3 {
		err := m.retry(ctx, func(ctx context.Context) error {
			return m.client.AbortMultipartUpload(ctx, m.bucket, m.key, m.id)
		})
		if isGone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := m.listParts(ctx); err != nil {
			return nil //nolint:nilerr // gone, or a server that cannot tell
		}
	}
	return faultf(KindNotConfirmed, "the storage goes on knowing the upload")
}

func (m *multipart) listParts(ctx context.Context) (minio.ListObjectPartsResult, error) {
	return m.client.ListObjectParts(expectXML(ctx, "ListPartsResult"), m.bucket, m.key, m.id, 0, 1)
}

// isGone tells whether the server does not know an upload.
func isGone(err error) bool {
	kind := classify(err)
	return kind == KindNoUpload || kind == KindNotFound
}

// leftover is a failed upload whose parts could not be removed.
type leftover struct {
	cause, abort error
	id           string
}

// Error names the upload, so that its parts can be removed by hand.
func (l *leftover) Error() string {
	return fmt.Sprintf("%s; the parts sent so far could not be removed (upload ID %s): %s; a lifecycle rule AbortIncompleteMultipartUpload on the bucket removes them",
		causeText(l.cause), l.id, causeText(l.abort))
}

// Unwrap returns why the upload failed.
func (l *leftover) Unwrap() error { return l.cause }

// errUnsettled is a Complete whose outcome is not known.
var errUnsettled = errors.New("whether the storage put the parts together is not known")
