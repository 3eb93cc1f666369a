package download

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// begin sends the first request.
func (r *Reader) begin(ctx context.Context) error {
	asked := time.Now()
	body, info, header, err := r.client.GetObject(wire.ExpectObject(ctx), r.bucket, r.key, r.client.ReadOptions())
	if err != nil {
		return err
	}
	answered := time.Since(asked)
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
		return err
	}
	if answered >= r.Ranges.LongWay && !r.longer && info.ETag != "" && wire.Encoding(header) == "" {
		r.atOnce = r.Ranges.AtOnce
	}
	r.until = r.size
	return nil
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
	if s3err.KindOf(err) == s3err.NotFound { // a 404 to HEAD may be that of a proxy
		return false, s3err.Errorf(s3err.Server, "the storage gave the object, and then did not show it: %w", err)
	}
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
