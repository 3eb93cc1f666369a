// Package download reads an object. The end of what is read is proven: by the
// size of the object, and by a checksum where there is one. Where the connection
// breaks the download goes on from where it was, as long as the object is the
// same. Over a long way a large object is read in ranges, several at once.
package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Downloader reads the objects of one location.
type Downloader struct {
	client   *client.Client
	settings *Settings

	// Ranges are what tests change.
	Ranges Ranges
}

// New returns a downloader.
func New(c *client.Client, s *Settings) *Downloader {
	return &Downloader{client: c, settings: s, Ranges: DefaultRanges()}
}

// Reader reads one object. It is not for several goroutines.
type Reader struct {
	*Downloader
	ctx         context.Context //nolint:containedctx // Open's, which bounds the reads
	bucket, key string
	info        minio.ObjectInfo // of the first answer
	size        int64
	body        io.ReadCloser // nil between a failure and the next attempt
	longer      bool          // body may go on behind the object's last byte
	until       int64         // where body is left for what is ahead, or size
	ahead       *ranges       // what is behind until, nil where nothing is fetched ahead
	atOnce      int           // how many ranges the next ones ahead may be
	peeked      bool          // more is read than by who only looks what the object is
	check       *check        // nil where there is nothing to compare with
	read        int64
	begun       time.Time
	resumed     int
	ranged      int   // ranges that were read
	failed      error // what every further read gives
}

// Open opens key for reading. ctx also bounds the reads. The reader gives io.EOF
// only after the last byte of the object; it never gives (0, nil) for a buffer
// that is not empty. The caller closes the reader.
func (d *Downloader) Open(ctx context.Context, bucket, key string) (*Reader, error) {
	r := &Reader{Downloader: d, ctx: ctx, bucket: bucket, key: key, begun: time.Now()}
	if err := d.client.Do(ctx, client.Content, r.begin); err != nil {
		return nil, err
	}
	return r, nil
}

// ETag is the one of the object that is read, "" if the storage gives none.
func (r *Reader) ETag() string { return r.info.ETag }

// Size is how large the object is, in bytes.
func (r *Reader) Size() int64 { return r.size }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.failed != nil || len(p) == 0 {
		return 0, r.failed
	}
	n, err := 0, r.ctx.Err()
	if err == nil {
		n, err = r.readSome(p)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // the end is io.EOF itself; a failure may wrap one
		err = r.client.Report.Failed(s3err.OpGet, r.bucket, r.key, err)
	}
	r.failed = err
	return n, err
}

// readSome reads at least one byte. It goes on with another request as long as
// that makes sense.
func (r *Reader) readSome(p []byte) (int, error) {
	retry := r.client.Retry(client.Content)
	for {
		if r.read == r.size {
			return 0, r.finish()
		}
		n, err := r.readOnce(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		r.drop()
		if err := retry.Wait(r.ctx, err); err != nil {
			return 0, fmt.Errorf("after %d of %d bytes: %w", r.read, r.size, err)
		}
	}
}

// readOnce makes one attempt. The end of the answer is an error to it.
func (r *Reader) readOnce(p []byte) (int, error) {
	if r.body == nil {
		if err := r.resume(); err != nil {
			return 0, err
		}
	}
	if !r.peeked && r.read >= peek {
		r.readAhead(0)
	}
	if r.ahead != nil && r.read == r.until {
		r.goOnAhead()
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.until-r.read)])
	r.read += int64(n)
	r.check.write(p[:n])
	_, inRanges := r.body.(*ranges)
	switch {
	case n > 0 || err == nil:
		return n, nil // an error will come again
	case inRanges && r.ctx.Err() == nil:
		r.tellOneStream(err)
		r.drop()
		return 0, nil
	case errors.Is(err, io.EOF):
		return 0, s3err.Errorf(s3err.Unreachable, "the answer ended early")
	}
	return 0, err
}

// finish is reached behind the last byte.
func (r *Reader) finish() error {
	if err := r.requireEnd(); err != nil {
		return err
	}
	if err := r.check.verify(); err != nil {
		return err
	}
	r.client.Summary("Read object", r.bucket, r.key, r.read, r.begun, logrus.Fields{"resumed": r.resumed, "ranges": r.ranged, "verified": r.check.name()})
	return io.EOF
}

// requireEnd returns nil unless the answer has more bytes than the object.
func (r *Reader) requireEnd() error {
	if !r.longer || r.body == nil {
		return nil
	}
	if n, _ := io.CopyN(io.Discard, r.body, 1); n > 0 {
		return s3err.Errorf(s3err.Corrupt, "the object has %d bytes, and the answer goes on after them", r.size)
	}
	return nil // all of the object is there
}

// drop gives up the answer that is being read, and what is ahead.
func (r *Reader) drop() {
	if r.body != nil {
		_ = r.body.Close()
		r.body = nil
	}
	if r.ahead != nil {
		_ = r.ahead.Close()
		r.ahead = nil
	}
}

// Close ends the download.
func (r *Reader) Close() error {
	r.drop()
	if r.failed == nil {
		r.failed = errors.New("read from a closed object")
	}
	return nil
}
