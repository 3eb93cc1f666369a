package download

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// resume asks for the rest of the object, as one stream.
func (r *Reader) resume() error {
	body, info, err := r.openRange(wire.WithAttempt(r.ctx, r.resumed+2), r.read, r.size-1)
	if err != nil {
		return err
	}
	if err := r.requireSame(info); err != nil {
		_ = body.Close()
		return err
	}
	r.body, r.longer = body, false
	r.resumed++
	r.client.Log.WithFields(logrus.Fields{"bucket": r.bucket, "key": r.key, "bytes": r.read}).Info("Resumed download")
	r.readAhead(r.read)
	return nil
}

// openRange asks for the bytes from first to last. A condition is no help to have
// those of the same object: an ETag that a proxy has weakened meets none.
func (r *Reader) openRange(ctx context.Context, first, last int64) (io.ReadCloser, minio.ObjectInfo, error) {
	options := r.client.ReadOptions()
	options.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	body, info, header, err := r.client.GetObject(wire.ExpectObject(ctx), r.bucket, r.key, options)
	if err != nil {
		return nil, info, err
	}
	if err := r.requireRange(header, first, last); err != nil {
		_ = body.Close()
		return nil, info, err
	}
	return body, info, nil
}

// requireRange accepts exactly the bytes from first to last of the object.
func (r *Reader) requireRange(h http.Header, first, last int64) error {
	want := fmt.Sprintf("bytes %d-%d/%d", first, last, r.size)
	got := h.Get("Content-Range")
	whole := first == 0 && last == r.size-1 && got == "" && h.Get("Content-Length") == fmt.Sprint(r.size)
	switch {
	case wire.Encoding(h) != "":
		return s3err.Errorf(s3err.Unsupported, "the rest of the object came with the Content-Encoding %.100q, so the download cannot go on where it broke off", wire.Encoding(h))
	case whole, got == want:
		return nil
	case got == "":
		return s3err.Errorf(s3err.Unsupported, "the storage does not answer requests for a range, so the download cannot go on where it broke off")
	}
	return s3err.Errorf(s3err.Changed, "the range %q was asked for, and %.100q came", want, got)
}

// requireSame accepts the object that was there at first.
func (r *Reader) requireSame(now minio.ObjectInfo) error {
	switch {
	case r.info.ETag != "" && now.ETag != "":
		if r.info.ETag != now.ETag {
			return s3err.Errorf(s3err.Changed, "the ETag was %.100q and is %.100q", r.info.ETag, now.ETag)
		}
	case r.info.LastModified.Unix() > 0:
		if !r.info.LastModified.Equal(now.LastModified) {
			return s3err.Errorf(s3err.Changed, "the object was last modified at %v, and now at %v", r.info.LastModified, now.LastModified)
		}
	default:
		return s3err.Errorf(s3err.Unsupported, "the storage gave neither ETag nor Last-Modified, so the download cannot go on where it broke off")
	}
	return nil
}
