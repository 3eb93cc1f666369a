// Package upload stores an object: with one request where the body fits into the
// first part, else in parts. It returns nil only with proof that the whole body is
// stored.
package upload

import (
	"context"
	"crypto/rand"
	"io"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Uploader stores the objects of one location.
type Uploader struct {
	client   *client.Client
	settings *Settings
	sse      encrypt.ServerSide
	checksum minio.ChecksumType
	signing  signing
	tags     map[string]string
	sizes    sizes
	memory   *memory

	encrypts atomic.Bool // the storage has encrypted an object as it was asked to

	ProofTime time.Duration // how long an object may take to be seen
}

// New returns an uploader. sse is the encryption of what is written, nil for none.
func New(c *client.Client, s *Settings, sse encrypt.ServerSide) *Uploader {
	checksum := s.Checksum(c.Account.Endpoint())
	return &Uploader{
		client: c, settings: s, sse: sse, checksum: checksum, signing: newSigning(s, c.Account, checksum), tags: parseTags(s.Tagging),
		sizes: sizesFor(s, c.Account.Endpoint()), memory: newMemory(int64(s.UploadMemoryLimit), c.Log), ProofTime: proofTime,
	}
}

// upload is one object on its way.
type upload struct {
	*Uploader
	bucket, key string
	token       string // tells this upload's object from any other
	begun       time.Time
	body        body
	version     string

	replaces      string // the ETag of the object that is replaced, "" for any or none
	unconditional bool   // the storage does not know If-Match
	overwrites    bool   // an object was there before, or may have been
}

// Result is what was stored.
type Result struct {
	Size    int64
	Parts   int
	Version string // of an object stored with one request, in a versioned bucket
}

// Put stores body under key, replacing what was there. When body fails with
// anything but io.EOF, or ctx ends, nothing is committed and no part stays behind.
// It does not close body. It holds one part of the body in memory, and more as far
// as the limit of memory allows.
func (u *Uploader) Put(ctx context.Context, bucket, key string, from io.Reader) (Result, error) {
	return u.put(ctx, &upload{bucket: bucket, key: key, body: body{from: from}})
}

func (u *Uploader) put(ctx context.Context, up *upload) (Result, error) {
	up.Uploader, up.token, up.begun = u, rand.Text(), time.Now()
	parts, err := up.run(ctx)
	return Result{Size: up.body.size, Parts: parts, Version: up.version}, err
}

// smallBodies are the sizes, in bytes, up to which a body gets no memory of a part:
// most objects of a backup are small.
var smallBodies = []int{64 << 10, 1 << 20}

func (u *upload) run(ctx context.Context) (parts int, err error) {
	for _, size := range smallBodies {
		if more, err := u.small(ctx, size); err != nil || !more {
			return 1, err
		}
	}
	first, more, err := u.next(ctx, 1)
	if err != nil {
		return 0, err
	}
	if more {
		return u.multipart(ctx, first)
	}
	defer first.release()
	return 1, u.single(ctx, first.data())
}

// small stores the body if it has at most size bytes. more tells that it has more,
// and is still to be stored.
func (u *upload) small(ctx context.Context, size int) (more bool, err error) {
	b, err := u.memory.take(ctx, size)
	if err != nil {
		return false, err
	}
	defer b.release()
	n, more, err := u.body.fill(ctx, b.bytes)
	switch {
	case err != nil:
		return false, err
	case more:
		u.body.unread(b.bytes)
		return true, nil
	}
	return false, u.single(ctx, b.bytes[:n])
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
	if number > MaxParts {
		return nil, false, u.tooLarge()
	}
	b, err := u.memory.take(ctx, u.sizes.of(number))
	if err != nil {
		return nil, false, err
	}
	p = &part{buffer: b, number: number}
	p.length, more, err = u.body.fill(ctx, b.bytes)
	if err != nil {
		p.release()
		return nil, false, err
	}
	return p, more, nil
}

func (u *upload) tooLarge() error {
	if u.sizes.fixed != 0 {
		return s3err.Errorf(s3err.Invalid, "the body is larger than %v, which is %d parts of %v; set a larger partSize in the location's config",
			u.sizes.capacity(), MaxParts, u.sizes.fixed)
	}
	return s3err.Errorf(s3err.Invalid, "the body is larger than %v, the most that S3 stores in one object", u.sizes.capacity())
}

// single stores the whole body with one request. The checksum that was sent, or an ETag
// that is the MD5, proves that the answer came from a server that read the body. One that
// was refused may be stored: by a request before, whose answer was lost.
func (u *upload) single(ctx context.Context, data []byte) error {
	// Sent a second time, the object would be another one than that to be replaced.
	once := u.replaces != "" && u.settings.SignsBodies()
	c := u.seal(data, once || u.signsBody())
	var info minio.UploadInfo
	doubt := false
	err := u.proven(c, func() (_ minio.ObjectPart, err error) {
		info, err = u.putWhole(ctx, c, &doubt)
		return sumsOf(info), err
	})
	if err != nil && (!doubt || !u.isThere(ctx)) {
		return err
	}
	u.version = info.VersionID
	if u.sse == nil && (u.answered(c, sumsOf(info)) || info.ETag != "" && info.ETag == c.etag()) {
		return nil
	}
	return u.confirm(ctx, info.ETag, true)
}

// putWhole sends the object until the storage has it, and says in doubt whether an
// answer was lost.
func (u *upload) putWhole(ctx context.Context, c *content, doubt *bool) (info minio.UploadInfo, err error) {
	err = u.commit(ctx, func(ctx context.Context) error {
		return u.client.Do(ctx, client.Content, func(ctx context.Context) error {
			return c.send(func(r io.Reader) (err error) {
				info, err = u.client.PutObject(ctx, u.bucket, u.key, r, int64(len(c.data)), u.contentMD5(c), c.sha256, u.objectOptions(c))
				*doubt = *doubt || err != nil && u.inDoubt(err)
				return err
			})
		})
	})
	return info, err
}
