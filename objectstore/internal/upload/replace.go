package upload

import (
	"context"
	"io"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// Replace is Put in the place of the object that has this ETag. Where another one is
// there, or none, it is an error of the kind Changed, and what is there stays.
//
// The storage is asked right before, and the request that puts the new object in its
// place has the condition If-Match, which the storage keeps in one step with it. S3
// does since 2024; a server that does not know the header ignores it or refuses the
// request. On such a server what somebody writes between the two requests is lost.
func (u *Uploader) Replace(ctx context.Context, bucket, key, etag string, from io.Reader) (Result, error) {
	if etag == "" {
		return Result{}, s3err.Errorf(s3err.Unsupported, "the storage gives the object no ETag, so that it would not be noticed if something else wrote it meanwhile")
	}
	return u.put(ctx, &upload{bucket: bucket, key: key, replaces: etag, body: body{from: from}})
}

// commit makes the request that puts the object in its place. One that is refused
// because of the form of the condition is made again with another form, and one that
// is refused because the storage knows no conditions, without.
func (u *upload) commit(ctx context.Context, request func(ctx context.Context) error) error {
	if u.replaces == "" {
		u.lookBefore(ctx)
		return request(ctx)
	}
	err := u.lookAndDo(ctx, request)
	if s3err.KindOf(err) == s3err.Changed && u.requireUnchanged(ctx) == nil {
		err = u.lookAndDo(wire.WithBareETag(ctx), request)
	}
	if s3err.KindOf(err) == s3err.Unsupported {
		u.client.Log.WithError(err).Warn("The storage refuses a write with the condition If-Match; writing without")
		u.unconditional = true
		err = u.lookAndDo(ctx, request)
	}
	return err
}

// lookBefore learns whether an object is there already. An unencrypted one that took its
// place is not removed, so this is of no use where the storage encrypts.
func (u *upload) lookBefore(ctx context.Context) {
	if u.sse == nil || u.encrypts.Load() {
		return
	}
	_, err := u.client.Head(ctx, client.Brief, u.bucket, u.key)
	u.overwrites = s3err.KindOf(err) != s3err.NotFound
}

// lookAndDo makes the request if the object is still the one that is to be replaced.
func (u *upload) lookAndDo(ctx context.Context, request func(ctx context.Context) error) error {
	if err := u.requireUnchanged(ctx); err != nil {
		return err
	}
	err := request(ctx)
	switch s3err.KindOf(err) {
	case s3err.Changed:
		if u.isThere(ctx) { // an answer was lost, and the request repeated
			return nil
		}
	case s3err.NotFound:
		return s3err.Errorf(s3err.Changed, "it was deleted meanwhile")
	}
	return err
}

// condition adds If-Match to the options of that request.
func (u *upload) condition(o *minio.PutObjectOptions) {
	if u.replaces != "" && !u.unconditional {
		o.SetMatchETag(u.replaces)
	}
}

func (u *upload) requireUnchanged(ctx context.Context) error {
	info, err := u.client.Head(ctx, client.Content, u.bucket, u.key)
	switch {
	case s3err.KindOf(err) == s3err.NotFound:
		return s3err.Errorf(s3err.Changed, "it was deleted meanwhile")
	case err != nil:
		return err
	case info.ETag != u.replaces:
		return s3err.Errorf(s3err.Changed, "the ETag was %.100q and is %.100q", u.replaces, info.ETag)
	}
	return nil
}

// isThere tells whether the object of this upload is stored.
func (u *upload) isThere(ctx context.Context) bool {
	info, err := u.client.Head(ctx, client.Brief, u.bucket, u.key)
	return err == nil && info.UserMetadata[client.TokenName] == u.token
}
