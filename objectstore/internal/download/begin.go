package download

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// begin sends the first request.
func (r *Reader) begin(ctx context.Context) error {
	body, info, header, err := r.client.GetObject(wire.ExpectObject(ctx), r.bucket, r.key, r.client.ReadOptions())
	if err != nil {
		return err
	}
	switch {
	case header.Get("Content-Range") != "":
		err = s3err.Errorf(s3err.NotS3, "the whole object was asked for, and the answer is the range %.100q", header.Get("Content-Range"))
	case info.ETag == "" && !wire.IsS3(header):
		err = s3err.Errorf(s3err.NotS3, "the answer has none of the headers of S3 (Content-Type %.100s)", header.Get("Content-Type"))
	default:
		err = r.prove(ctx, body, info, header)
	}
	if err != nil {
		_ = body.Close()
	}
	return err
}

// prove finds out how the end of the object will be known: by its size, which is
// that of the answer, or the one that was kept with the object, or one that is
// asked for; and by a checksum, where there is one.
func (r *Reader) prove(ctx context.Context, body io.ReadCloser, info minio.ObjectInfo, header http.Header) (err error) {
	r.body, r.info, r.size, r.longer = body, info, info.Size, false
	encoded, err := r.encoded(ctx, info, header)
	if err != nil {
		return err
	}
	if encoded {
		plain, err := wire.Decoded(header, body)
		if err != nil {
			return err
		}
		r.body, r.size = decodedBody{plain, body}, -1
	}
	if r.size < 0 {
		r.longer = true
		_, size, own := client.KeptCRC(info)
		if !own {
			if size, err = r.client.Size(ctx, client.Content, r.bucket, r.key, info.ETag); err != nil {
				return err
			}
		}
		r.size = size
	}
	r.check, err = r.settings.checkFor(info, header, r.size)
	return err
}

// encoded tells whether the body was encoded on its way. An object that another
// program has stored with an encoding has a length, also when it is asked for by
// HEAD; a proxy that compresses does not know it beforehand.
func (r *Reader) encoded(ctx context.Context, info minio.ObjectInfo, header http.Header) (bool, error) {
	if wire.Encoding(header) == "" {
		return false, nil
	}
	if _, _, own := client.KeptCRC(info); own || info.Size < 0 {
		return true, nil
	}
	stored, err := r.client.Head(ctx, client.Content, r.bucket, r.key)
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

// resume asks for the rest of the object, which must be the same still. A
// condition is no help: an ETag that a proxy has weakened meets none.
func (r *Reader) resume() error {
	options := r.client.ReadOptions()
	options.Set("Range", fmt.Sprintf("bytes=%d-", r.read))
	body, info, header, err := r.client.GetObject(wire.ExpectObject(wire.WithAttempt(r.ctx, r.resumed+2)), r.bucket, r.key, options)
	if err != nil {
		return err
	}
	if err = r.requireRest(header); err == nil {
		err = r.requireSame(info)
	}
	if err != nil {
		_ = body.Close()
		return err
	}
	r.body, r.longer = body, false
	r.resumed++
	r.client.Log.WithFields(logrus.Fields{"bucket": r.bucket, "key": r.key, "bytes": r.read}).Info("Resumed download")
	return nil
}

// requireRest accepts exactly the rest of the object.
func (r *Reader) requireRest(h http.Header) error {
	want := fmt.Sprintf("bytes %d-%d/%d", r.read, r.size-1, r.size)
	got := h.Get("Content-Range")
	switch {
	case wire.Encoding(h) != "":
		return s3err.Errorf(s3err.Unsupported, "the rest of the object came with the Content-Encoding %.100q, so the download cannot go on where it broke off", wire.Encoding(h))
	case r.read == 0 && got == "" && h.Get("Content-Length") == fmt.Sprint(r.size), got == want:
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
