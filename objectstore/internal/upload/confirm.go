package upload

import (
	"context"
	"crypto/md5" //nolint:gosec // S3's ETag
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

const (
	// proofTime is how long an object may take to be seen after it was stored.
	proofTime = 20 * time.Second
	// clockSkew is how far S3 lets the clocks be apart.
	clockSkew = 15 * time.Minute
)

// confirm looks at the object until it is seen to be the one of this upload, for
// a storage may show a change late. etag is what the object should have, "" where
// that is not known; answered tells whether the storage has said that it stored
// the object.
func (u *upload) confirm(ctx context.Context, etag string, answered bool) error {
	begun, pause := time.Now(), u.client.FirstPause
	for {
		info, err := u.client.Stat(ctx, client.Content, u.bucket, u.key)
		switch {
		case err == nil:
			err = u.requireOurs(info, etag, answered)
		case s3err.KindOf(err) == s3err.NotFound:
			err = s3err.Errorf(s3err.NotConfirmed, "the storage answered that it stored the object, but it is not there")
		case s3err.KindOf(err) == s3err.Forbidden:
			return s3err.Hinted(s3err.Forbidden, "the credentials need s3:GetObject on the objects, and kms:Decrypt where a KMS key encrypts them: without, an upload cannot be proven",
				"look at the object after storing it: %w", err)
		default:
			return fmt.Errorf("look at the object after storing it: %w", err)
		}
		if err == nil {
			return u.requireEncrypted(ctx, info)
		}
		if time.Since(begun)+pause > u.ProofTime {
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// requireOurs accepts the object of this upload: by its token, by the ETag that
// was expected where the two can be compared, and, where a storage shows neither
// and has answered, by its time.
func (u *upload) requireOurs(info minio.ObjectInfo, etag string, answered bool) error {
	token := info.UserMetadata[client.TokenName]
	same := comparable(etag, info.ETag)
	switch {
	case info.Size != u.body.size:
		return s3err.Errorf(s3err.NotConfirmed, "%d bytes were sent, and the stored object has %d", u.body.size, info.Size)
	case token == u.token, same && etag == info.ETag:
		return nil
	case same:
		return s3err.Errorf(s3err.NotConfirmed, "the upload was answered with ETag %q, and the stored object has %q: something else wrote it, or the storage kept the former object", etag, info.ETag)
	case token != "":
		return s3err.Errorf(s3err.NotConfirmed, "the stored object is that of another upload: something else wrote it, or the storage kept the former object")
	case !answered || info.LastModified.Before(u.begun.Add(-clockSkew)):
		return s3err.Errorf(s3err.NotConfirmed, "the storage shows nothing by which the stored object can be known: neither metadata nor an ETag that was expected (last modified %v)", info.LastModified.UTC().Format(time.RFC3339))
	}
	return nil
}

// comparable tells whether two ETags say something about each other: both are of
// parts, or both are not. There are servers that answer a multipart upload with
// an ETag of its parts and give the object one of its content.
func comparable(a, b string) bool {
	return a != "" && b != "" && client.OfParts(a) == client.OfParts(b)
}

// multipartETag is the ETag that S3 gives to an object of these parts: the MD5 of
// the parts' MD5s and their number. It is "" where the parts' ETags are no MD5s.
func multipartETag(parts []minio.ObjectPart) string {
	if noMD5() {
		return ""
	}
	all := md5.New() //nolint:gosec // see above
	for _, p := range parts {
		sum, err := hex.DecodeString(p.ETag)
		if err != nil || len(sum) != md5.Size {
			return ""
		}
		all.Write(sum)
	}
	return fmt.Sprintf("%x-%d", all.Sum(nil), len(parts))
}

// requireEncrypted removes the version of an object that was to be encrypted and is
// not, unless it stands in the place of another one, which would be lost. There are
// servers that ignore what they do not know.
func (u *upload) requireEncrypted(ctx context.Context, info minio.ObjectInfo) error {
	if u.sse == nil {
		return nil
	}
	for name := range info.Metadata {
		if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption") {
			u.encrypts.Store(true)
			return nil
		}
	}
	versioned := info.VersionID != "" && info.VersionID != "null"
	if u.replaces != "" || u.overwrites && !versioned {
		return s3err.Hinted(s3err.NotConfirmed, "leave serverSideEncryption and kmsKeyId out where the storage does not know them",
			"the storage replaced the object and ignored that it was to be encrypted by the storage; it is whole, and stays")
	}
	err := s3err.Errorf(s3err.Unsupported, "the storage took the object and ignored that it was to be encrypted")
	if failed := u.client.Remove(ctx, u.bucket, u.key, minio.RemoveObjectOptions{VersionID: info.VersionID}); failed != nil {
		return fmt.Errorf("%w; removing it failed: %s", err, s3err.Text(failed))
	}
	return fmt.Errorf("%w; it was removed", err)
}
