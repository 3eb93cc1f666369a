package upload

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// grace is how long requests on their way may go on after their upload has
// failed. A part whose request is cut off may be stored after the abort, and an
// upload whose ID did not arrive cannot be aborted.
const grace = 5 * time.Second

// multipart is a multipart upload under way.
type multipart struct {
	*upload
	id      string        // known when created is closed
	created chan struct{} // closed when the storage has given the ID

	mu    sync.Mutex
	parts []minio.ObjectPart // by number
}

// multipart stores a body that goes on behind its first part, and returns the
// number of parts.
func (u *upload) multipart(ctx context.Context, first *part) (int, error) {
	m := &multipart{upload: u, created: make(chan struct{})}
	err := m.sendAll(ctx, first)
	switch {
	case m.id == "":
		return 0, err
	case err != nil:
		return len(m.parts), m.abort(ctx, err)
	}
	return len(m.parts), m.complete(ctx)
}

func (m *multipart) create(ctx context.Context) error {
	attempts := 0
	err := m.client.Do(ctx, client.Content, func(ctx context.Context) (err error) {
		attempts++
		ctx, cancel := outliving(ctx, grace)
		defer cancel()
		m.id, err = m.client.NewMultipartUpload(wire.ExpectXML(ctx, "InitiateMultipartUpload", &struct{}{}), m.bucket, m.key, m.multipartOptions())
		if err == nil && m.id == "" {
			err = s3err.Errorf(s3err.NotS3, "the storage began a multipart upload and gave no upload ID")
		}
		return err
	})
	if err == nil {
		close(m.created)
	}
	if attempts > 1 {
		// It cannot be told from that of another writer, so it is left alone.
		m.client.Log.WithField("bucket", m.bucket).WithField("key", m.key).
			Warn("The beginning of a multipart upload was repeated; an empty one may have stayed behind")
	}
	return err
}

// sendAll begins the upload, reads the body and sends its parts, so many at a time.
// Parts are read and hashed while the storage has not answered yet. It returns when
// nothing is being sent any more, also when it fails.
func (m *multipart) sendAll(ctx context.Context, first *part) error {
	outer, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group, ctx := errgroup.WithContext(outer)
	group.SetLimit(m.settings.UploadConcurrency)
	group.Go(client.Contained("begin a multipart upload", func() error { return m.create(ctx) }))
	err := m.readAll(ctx, first, func(p *part) {
		m.mu.Lock()
		m.parts = append(m.parts, minio.ObjectPart{})
		m.mu.Unlock()
		group.Go(client.Contained(fmt.Sprintf("send part %d", p.number), func() error {
			defer p.release()
			return m.send(ctx, p)
		}))
	})
	if err != nil {
		cancel(err)
	}
	if failed := group.Wait(); failed != nil {
		return failed
	}
	if err == nil {
		err = context.Cause(outer)
	}
	return err
}

// readAll calls send with every part of the body.
func (m *multipart) readAll(ctx context.Context, p *part, send func(*part)) error {
	for more := true; more; {
		number := p.number + 1
		send(p)
		var err error
		if p, more, err = m.next(ctx, number); err != nil {
			return err
		}
	}
	send(p)
	return nil
}

func (m *multipart) send(ctx context.Context, p *part) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c := m.seal(p.data(), m.signsBody())
	select {
	case <-m.created:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var sent minio.ObjectPart
	err := m.proven(c, func() (_ minio.ObjectPart, err error) {
		sent, err = m.put(ctx, p, c)
		return sent, err
	})
	if err != nil {
		return fmt.Errorf("part %d: %w", p.number, err)
	}
	if sent.ETag == "" {
		return s3err.Errorf(s3err.NotS3, "part %d: the storage took the part and gave no ETag", p.number)
	}
	if sent.ChecksumCRC64NVME != "" { // the server keeps it, and what counts was computed here
		sent.ChecksumCRC64NVME = c.sums[minio.ChecksumCRC64NVME.Key()]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[p.number-1] = sent
	return nil
}

// put sends a part until the storage has it.
func (m *multipart) put(ctx context.Context, p *part, c *content) (sent minio.ObjectPart, err error) {
	err = m.client.Do(ctx, client.Content, func(ctx context.Context) error {
		ctx, cancel := outliving(ctx, grace)
		defer cancel()
		return c.send(func(r io.Reader) (err error) {
			sent, err = m.client.PutObjectPart(ctx, m.bucket, m.key, m.id, p.number, r, int64(p.length), m.partOptions(c))
			return err
		})
	})
	return sent, err
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
