package objectstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
)

// upload is one PutObject under way.
type upload struct {
	*Store
	bucket, key string
	source      source
	memory      *share
	count       int // parts, 0 for a single request
}

// PutObject stores body under key, replacing what was there. It returns nil
// only when it has proof that the whole body is stored. When body fails with
// anything but io.EOF, or ctx ends, nothing is committed and no part stays
// behind. It does not close body. It holds one part of the body in memory, and
// more as far as uploadMemoryLimit allows.
func (s *Store) PutObject(ctx context.Context, bucket, key string, body io.Reader) error {
	start := time.Now()
	u := &upload{Store: s, bucket: bucket, key: key, source: source{body: body}, memory: &share{of: s.memory}}
	if err := u.run(ctx); err != nil {
		return s.failed(opPut, bucket, key, err)
	}
	u.summary("Stored object", bucket, key, u.source.size, start, logrus.Fields{"parts": max(u.count, 1)})
	return nil
}

// smallBody is the size, in bytes, up to which a body is held outside of the
// parts' memory: most objects of a backup are small, and new memory for each
// costs more than it holds.
const smallBody = 64 << 10

var smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}

func (u *upload) run(ctx context.Context) error {
	small := smallBodies.Get().(*[smallBody]byte)
	defer smallBodies.Put(small)
	n, more, err := u.source.fill(ctx, small[:])
	if err != nil {
		return err
	}
	if !more {
		return u.single(ctx, small[:n])
	}
	u.source.unread(small[:])
	return u.large(ctx)
}

func (u *upload) large(ctx context.Context) error {
	first, more, err := u.next(ctx, 1)
	if err != nil {
		return err
	}
	if more {
		return u.multipart(ctx, first)
	}
	defer first.release()
	return u.single(ctx, first.data())
}

// part is one part of the body, in memory.
type part struct {
	*buffer
	number int
	length int
}

func (p *part) data() []byte { return p.bytes[:p.length] }

// next reads the part with that number. more tells whether the body goes on
// behind it.
func (u *upload) next(ctx context.Context, number int) (p *part, more bool, err error) {
	if number > maxParts {
		return nil, false, u.tooLarge()
	}
	buf, err := u.memory.take(ctx, u.schedule.size(number))
	if err != nil {
		return nil, false, err
	}
	p = &part{buffer: buf, number: number}
	p.length, more, err = u.source.fill(ctx, buf.bytes)
	if err != nil {
		p.release()
		return nil, false, err
	}
	return p, more, nil
}

func (u *upload) tooLarge() error {
	if u.schedule.fixed != 0 {
		return faultf(KindInvalid, "the body is larger than %v, which is %d parts of %v; set a larger partSize in the location's config",
			u.schedule.capacity(), maxParts, u.schedule.fixed)
	}
	return faultf(KindInvalid, "the body is larger than %v, the most that S3 stores in one object", u.schedule.capacity())
}

// single stores the whole body with one request. The server has verified the
// signed SHA-256; the MD5 proves by the ETag that the answer came from a server
// that read the body. It is computed while the body is sent.
func (u *upload) single(ctx context.Context, data []byte) error {
	body := u.seal(data)
	go body.md5()
	defer body.md5() // the buffer may go only when nothing reads it
	var info minio.UploadInfo
	err := u.retry(ctx, func(ctx context.Context) error {
		return body.send(func(r io.Reader) (err error) {
			info, err = u.client.PutObject(ctx, u.bucket, u.key, r, int64(len(data)),
				u.contentMD5(body), body.sha256, u.objectOptions(body))
			return err
		})
	})
	if err != nil {
		return err
	}
	if info.ETag == body.etag() && u.sse == nil {
		return nil
	}
	return u.confirm(ctx, info.ETag)
}

// confirm asks the server for the object, and takes it for the one just stored
// only if the size is what was read and the ETag, where it can be compared, what
// was answered.
func (u *upload) confirm(ctx context.Context, etag string) error {
	info, err := u.stat(ctx, u.bucket, u.key)
	if classify(err) == KindNotFound {
		return faultf(KindNotConfirmed, "the storage answered that it stored the object, but it is not there")
	}
	if err != nil {
		return fmt.Errorf("look at the object after storing it: %w", err)
	}
	if info.Size != u.source.size {
		return faultf(KindNotConfirmed, "%d bytes were sent, and the stored object has %d", u.source.size, info.Size)
	}
	if comparable(etag, info.ETag) && info.ETag != etag {
		return faultf(KindNotConfirmed, "the upload was answered with ETag %q, and the stored object has %q: something else wrote it, or the storage kept the former object", etag, info.ETag)
	}
	return u.confirmEncryption(ctx, info)
}

// comparable tells whether two ETags say something about each other: both are of
// parts, or both are not. There are servers that answer a multipart upload with
// an ETag of its parts and give the object one of its content.
func comparable(a, b string) bool {
	return a != "" && b != "" && isOfParts(a) == isOfParts(b)
}

// confirmEncryption removes an object that was to be encrypted and is not. There
// are servers that ignore what they do not know.
func (u *upload) confirmEncryption(ctx context.Context, info minio.ObjectInfo) error {
	if u.sse == nil {
		return nil
	}
	for name := range info.Metadata {
		if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption") {
			return nil
		}
	}
	err := faultf(KindUnsupported, "the storage took the object and ignored that it was to be encrypted")
	if gone := u.remove(ctx, u.bucket, u.key, minio.RemoveObjectOptions{}); gone != nil {
		return fmt.Errorf("%w; removing it failed: %s", err, causeText(gone))
	}
	return fmt.Errorf("%w; it was removed", err)
}

// isMD5 tells whether an ETag has the form of an MD5 of the content.
func isMD5(etag string) bool {
	sum, err := hex.DecodeString(etag)
	return err == nil && len(sum) == 16
}
