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
	size        int64            // -1 if the server did not say
	body        io.ReadCloser    // nil between a failure and the next attempt
	check       *check           // nil where there is nothing to compare with
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
	if err := s.retry(ctx, d.open); err != nil {
		return nil, s.failed(opGet, bucket, key, s.orNoBucket(ctx, bucket, err))
	}
	return d, nil
}

// open sends the first request.
func (d *download) open(ctx context.Context) error {
	body, info, header, err := d.client.GetObject(ctx, d.bucket, d.key, d.readOptions())
	if err != nil {
		return err
	}
	if header.Get("Content-Range") != "" {
		_ = body.Close()
		return faultf(KindNotS3, "the whole object was asked for, and the answer is the range %q", header.Get("Content-Range"))
	}
	d.body, d.info, d.size = body, info, info.Size
	d.check = d.checkFor(info, header)
	return nil
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
		n, err := d.readOnce(p)
		if n > 0 {
			return n, nil
		}
		if err == io.EOF { //nolint:errorlint // wrapped it would be a failure
			return 0, d.end()
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

// readOnce makes one attempt. It gives io.EOF only at the object's end.
func (d *download) readOnce(p []byte) (int, error) {
	if d.size >= 0 && d.read == d.size {
		return 0, io.EOF
	}
	if d.body == nil {
		if err := d.resume(); err != nil {
			return 0, err
		}
	}
	if d.size >= 0 {
		p = p[:min(int64(len(p)), d.size-d.read)]
	}
	n, err := d.body.Read(p)
	d.read += int64(n)
	d.check.write(p[:n])
	switch {
	case n > 0 || err == nil:
		return n, nil // an error will come again
	case err == io.EOF && d.size >= 0: // wrapped it would be a failure
		return 0, faultf(KindUnreachable, "the answer ended early")
	}
	return 0, err
}

// resume asks for the rest of the object, on the condition that it is the same.
func (d *download) resume() error {
	if d.size < 0 {
		return faultf(KindUnsupported, "the storage gave no length, so the download cannot go on where it broke off")
	}
	options := d.readOptions()
	if err := d.condition(&options); err != nil {
		return err
	}
	body, _, header, err := d.client.GetObject(withAttempt(d.ctx, d.resumed+2), d.bucket, d.key, options)
	if err != nil {
		return err
	}
	if err := d.checkRange(header); err != nil {
		_ = body.Close()
		return err
	}
	d.body = body
	d.resumed++
	d.log.WithFields(logrus.Fields{"bucket": d.bucket, "key": d.key, "bytes": d.read}).Info("Resumed download")
	return nil
}

func (d *download) condition(o *minio.GetObjectOptions) error {
	if d.read > 0 {
		if err := o.SetRange(d.read, 0); err != nil {
			return err
		}
	}
	switch {
	case d.info.ETag != "":
		return o.SetMatchETag(d.info.ETag)
	case d.info.LastModified.Unix() > 0:
		return o.SetUnmodified(d.info.LastModified)
	}
	return faultf(KindUnsupported, "the storage gave neither ETag nor Last-Modified, so the download cannot go on where it broke off")
}

// checkRange accepts exactly the rest of the object as it was at first.
func (d *download) checkRange(h http.Header) error {
	want := fmt.Sprintf("bytes %d-%d/%d", d.read, d.size-1, d.size)
	got := h.Get("Content-Range")
	switch {
	case d.read == 0 && got == "" && h.Get("Content-Length") == fmt.Sprint(d.size):
	case got == want:
	case got == "":
		return faultf(KindUnsupported, "the storage does not answer requests for a range, so the download cannot go on where it broke off")
	default:
		return faultf(KindChanged, "the range %q was asked for, and %q came", want, got)
	}
	if etag := trimETag(h.Get("ETag")); d.info.ETag != "" && etag != "" && etag != d.info.ETag {
		return faultf(KindChanged, "the ETag was %q and is %q", d.info.ETag, etag)
	}
	return nil
}

// end is reached behind the last byte.
func (d *download) end() error {
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
