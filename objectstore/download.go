package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
)

// download reads an object. Where the connection breaks it goes on from where
// it was, as long as the object is still the same.
type download struct {
	*Store
	ctx         context.Context //nolint:containedctx // GetObject's, which bounds the reads
	bucket, key string
	info        minio.ObjectInfo // of the first answer
	size        int64
	body        io.ReadCloser // nil between a failure and the next attempt
	open        bool          // body may go on behind the object's last byte
	check       *check        // nil where there is nothing to compare with
	read        int64
	start       time.Time
	resumed     int
	failed      error // what every further read gives
}

// GetObject opens key for reading. ctx also bounds the reads. The reader gives
// io.EOF only after the last byte of the object; it never gives (0, nil) for a
// buffer that is not empty. An object that changes while it is read, a body
// that is too short and, with verifyDownloads, content that is not what the
// storage says it is are errors. The caller closes the reader.
func (s *Store) GetObject(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
	d := &download{Store: s, ctx: ctx, bucket: bucket, key: key, start: time.Now()}
	if err := s.retry(ctx, d.begin); err != nil {
		return nil, s.failed(opGet, bucket, key, s.orNoBucket(ctx, bucket, err))
	}
	return d, nil
}

// begin sends the first request.
func (d *download) begin(ctx context.Context) error {
	// The body is read under d.ctx, which ctx is made of.
	body, info, header, err := d.client.GetObject(expectObject(ctx), d.bucket, d.key, d.readOptions())
	if err != nil {
		return err
	}
	switch {
	case header.Get("Content-Range") != "":
		err = faultf(KindNotS3, "the whole object was asked for, and the answer is the range %q", header.Get("Content-Range"))
	case info.ETag == "" && !saysAmz(header):
		err = faultf(KindNotS3, "the answer has none of the headers of S3 (Content-Type %s)", header.Get("Content-Type"))
	default:
		err = d.prove(ctx, body, info, header)
	}
	if err != nil {
		_ = body.Close()
	}
	return err
}

// prove finds out how the end of the object will be known: by its size, which is
// that of the answer, or the one that was kept with the object, or one that is
// asked for; and by a checksum, where there is one.
func (d *download) prove(ctx context.Context, body io.ReadCloser, info minio.ObjectInfo, header http.Header) (err error) {
	d.body, d.info, d.size, d.open = body, info, info.Size, false
	encoded, err := d.encoded(ctx, info, header)
	if err != nil {
		return err
	}
	if encoded {
		plain, err := decoded(header, body)
		if err != nil {
			return err
		}
		d.body, d.size = decodedBody{plain, body}, -1
	}
	if d.size < 0 {
		d.open = true
		_, size, own := ownCRC(info)
		if !own {
			if size, err = d.sizeOf(ctx, d.bucket, d.key, info.ETag); err != nil {
				return err
			}
		}
		d.size = size
	}
	d.check, err = d.checkFor(info, header, d.size)
	return err
}

// encoded tells whether the body was encoded on its way. An object that another
// program has stored with an encoding has a length, also when it is asked for by
// HEAD; a proxy that compresses does not know it beforehand.
func (d *download) encoded(ctx context.Context, info minio.ObjectInfo, header http.Header) (bool, error) {
	if encodingOf(header) == "" {
		return false, nil
	}
	if _, _, own := ownCRC(info); own || info.Size < 0 {
		return true, nil
	}
	stored, err := d.head(ctx, d.bucket, d.key)
	if err != nil {
		return false, err
	}
	return stored.Size != info.Size || stored.ETag != info.ETag || stored.ContentEncoding != info.ContentEncoding, nil
}

// decodedBody is a body that is decoded as it is read.
type decodedBody struct {
	io.Reader
	io.Closer
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	if d.failed != nil || len(p) == 0 {
		return 0, d.failed
	}
	n, err := d.readSome(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.Store.failed(opGet, d.bucket, d.key, err)
	}
	d.failed = err
	return n, err
}

// readSome reads at least one byte, resuming as often as maxRetries allows
// without one.
func (d *download) readSome(p []byte) (int, error) {
	r := retrying{store: d.Store}
	for {
		if d.read == d.size {
			return 0, d.end()
		}
		n, err := d.readOnce(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		d.drop()
		r.attempt++
		if d.ctx.Err() != nil {
			return 0, ended(d.ctx, err)
		}
		if !r.again(err) {
			return 0, fmt.Errorf("after %d of %d bytes: %w", d.read, d.size, err)
		}
		if !d.pause(d.ctx, r.attempt) {
			return 0, ended(d.ctx, err)
		}
	}
}

// readOnce makes one attempt. The end of the answer is an error to it.
func (d *download) readOnce(p []byte) (int, error) {
	if d.body == nil {
		if err := d.resume(); err != nil {
			return 0, err
		}
	}
	n, err := d.body.Read(p[:min(int64(len(p)), d.size-d.read)])
	d.read += int64(n)
	d.check.write(p[:n])
	switch {
	case n > 0 || err == nil:
		return n, nil // an error will come again
	case errors.Is(err, io.EOF):
		return 0, faultf(KindUnreachable, "the answer ended early")
	}
	return 0, err
}

// resume asks for the rest of the object, which must be the same still. A
// condition is no help: an ETag that a proxy has weakened meets none.
func (d *download) resume() error {
	options := d.readOptions()
	options.Set("Range", fmt.Sprintf("bytes=%d-", d.read))
	body, info, header, err := d.client.GetObject(expectObject(withAttempt(d.ctx, d.resumed+2)), d.bucket, d.key, options)
	if err != nil {
		return err
	}
	if err := errors.Join(d.requireRest(header), d.requireSame(info)); err != nil {
		_ = body.Close()
		return err
	}
	d.body, d.open = body, false
	d.resumed++
	d.log.WithFields(logrus.Fields{"bucket": d.bucket, "key": d.key, "bytes": d.read}).Info("Resumed download")
	return nil
}

// requireRest accepts exactly the rest of the object.
func (d *download) requireRest(h http.Header) error {
	want := fmt.Sprintf("bytes %d-%d/%d", d.read, d.size-1, d.size)
	got := h.Get("Content-Range")
	switch {
	case encodingOf(h) != "":
		return faultf(KindUnsupported, "the rest of the object came with the Content-Encoding %q, so the download cannot go on where it broke off", encodingOf(h))
	case d.read == 0 && got == "" && h.Get("Content-Length") == fmt.Sprint(d.size), got == want:
		return nil
	case got == "":
		return faultf(KindUnsupported, "the storage does not answer requests for a range, so the download cannot go on where it broke off")
	}
	return faultf(KindChanged, "the range %q was asked for, and %q came", want, got)
}

// requireSame accepts the object that was there at first.
func (d *download) requireSame(now minio.ObjectInfo) error {
	switch {
	case d.info.ETag != "" && now.ETag != "":
		if d.info.ETag != now.ETag {
			return faultf(KindChanged, "the ETag was %q and is %q", d.info.ETag, now.ETag)
		}
	case d.info.LastModified.Unix() > 0:
		if !d.info.LastModified.Equal(now.LastModified) {
			return faultf(KindChanged, "the object was last modified at %v, and now at %v", d.info.LastModified, now.LastModified)
		}
	default:
		return faultf(KindUnsupported, "the storage gave neither ETag nor Last-Modified, so the download cannot go on where it broke off")
	}
	return nil
}

// requireEnd returns nil unless the answer has more bytes than the object.
func (d *download) requireEnd() error {
	if !d.open || d.body == nil {
		return nil
	}
	for range emptyReads {
		n, err := d.body.Read(make([]byte, 1))
		switch {
		case n > 0:
			return faultf(KindCorrupt, "the object has %d bytes, and the answer goes on behind them", d.size)
		case err != nil:
			return nil //nolint:nilerr // all of the object is there
		}
	}
	return io.ErrNoProgress
}

// end is reached behind the last byte.
func (d *download) end() error {
	if err := d.requireEnd(); err != nil {
		return err
	}
	if err := d.check.verify(); err != nil {
		return err
	}
	d.summary("Read object", d.bucket, d.key, d.read, d.start, logrus.Fields{"resumed": d.resumed, "verified": d.check.name()})
	return io.EOF
}

func (d *download) drop() {
	if d.body != nil {
		_ = d.body.Close()
		d.body = nil
	}
}

// Close ends the download.
func (d *download) Close() error {
	d.drop()
	if d.failed == nil {
		d.failed = errors.New("read from a closed object")
	}
	return nil
}
