package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore"
)

// beyond is how many bytes the large object has behind its first part.
const beyond = 1 << 10

// pattern returns bytes that differ at every offset near another.
func pattern(length int) []byte {
	data := make([]byte, length)
	for i := range data {
		data[i] = byte((i ^ i>>8 ^ i>>16) & 0xff)
	}
	return data
}

func (o *objectStore) bucketName() string { return strings.Trim(o.Bucket, "/") }

func (o *objectStore) put(ctx context.Context) (string, error) {
	o.written = true
	if err := o.d.PutObject(ctx, o.bucketName(), o.small, bytes.NewReader(o.content)); err != nil {
		return "", o.explain(err, "s3:PutObject")
	}
	return o.small, nil
}

func (o *objectStore) get(ctx context.Context) (string, error) {
	body, err := o.d.GetObject(ctx, o.bucketName(), o.small)
	if err != nil {
		return "", o.explain(err, "s3:GetObject")
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return "", o.explain(err, "s3:GetObject")
	}
	if !bytes.Equal(data, o.content) {
		return "", Fail("the object was read back with other content than it was written with", "do not use this storage; look at proxies in front of it")
	}
	return "as it was written", nil
}

func (o *objectStore) signedURL(ctx context.Context) (string, error) {
	const why = "velero backup logs, describe --details and download do not work without signed URLs"
	signed, err := o.d.CreateSignedURL(ctx, o.bucketName(), o.small, 10*time.Minute)
	switch objectstore.KindOf(err) {
	case objectstore.KindNotDecrypted:
		what, hint := o.d.Explain(err)
		return "", Skip(what + "; " + hint)
	case objectstore.KindUnsupported:
		what, _ := o.d.Explain(err)
		return "", Warn(what, "")
	}
	if err != nil {
		return "", o.explain(err)
	}
	data, err := o.d.Fetch(ctx, signed, 1<<20)
	if err != nil {
		return "", Fail(err.Error(), why+"; set publicUrl to an address of the storage that can be reached from here, and let the credentials read objects")
	}
	if !bytes.Equal(data, o.content) {
		return "", Fail("a signed URL gave something other than the object", why+"; publicUrl must lead to the same storage")
	}
	return "fetched without credentials", nil
}

func (o *objectStore) multipart(ctx context.Context) (string, error) {
	o.written = true
	size := o.d.PartSize() + beyond
	if err := o.d.PutObject(ctx, o.bucketName(), o.large, bytes.NewReader(pattern(size))); err != nil {
		return "", o.explain(err, "s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
	}
	return fmt.Sprintf("%d bytes in two parts", size), nil
}

// getRange reads across the border of the two parts. What is encrypted differs
// each time: of that the length tells.
func (o *objectStore) getRange(ctx context.Context) (string, error) {
	offset := o.d.PartSize() - beyond/2
	data, err := o.d.GetRange(ctx, o.large, int64(offset), beyond)
	if objectstore.KindOf(err) == objectstore.KindUnsupported {
		what, _ := o.d.Explain(err)
		return "", Warn(what, "a download whose connection breaks cannot go on where it was, and fails")
	}
	if err != nil {
		return "", o.explain(err, "s3:GetObject")
	}
	if o.d.Encrypts() && len(data) == beyond {
		return "downloads can go on after a broken connection", nil
	}
	if !bytes.Equal(data, pattern(o.d.PartSize() + beyond)[offset:offset+beyond]) {
		return "", Fail("the range was read with other content than was written", "do not use this storage; look at proxies in front of it")
	}
	return "downloads can go on after a broken connection", nil
}

func (o *objectStore) delete(ctx context.Context) (string, error) {
	for _, key := range []string{o.small, o.large} {
		if err := o.d.DeleteObject(ctx, o.bucketName(), key); err != nil {
			return "", o.explain(err, o.deleteActions()...)
		}
		there, err := o.d.ObjectExists(ctx, o.bucketName(), key)
		if err != nil {
			return "", o.explain(err, "s3:GetObject", "s3:ListBucket")
		}
		if there {
			return "", Fail("the storage says that it deleted "+key+", which is still there", "")
		}
	}
	o.versioned = o.versioned || o.d.KeepsVersions()
	o.written = o.versioned
	return "both objects of this check are gone", nil
}

func (o *objectStore) deleteActions() []string {
	if o.d.Settings().DeleteVersions {
		return []string{"s3:ListBucketVersions", "s3:DeleteObjectVersion"}
	}
	return []string{"s3:DeleteObject"}
}

// cleanUpTimeout bounds the removal of what a check has made.
const cleanUpTimeout = 30 * time.Second

// cleanUp removes what the steps have left, also when they were interrupted.
func (o *objectStore) cleanUp(ctx context.Context) {
	if !o.written {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	o.Step(ctx, "clean up", func(ctx context.Context) (string, error) {
		var errs []error
		removed := 0
		for _, key := range []string{o.small, o.large} {
			n, err := o.remove(ctx, key)
			removed += n
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			what, _ := o.d.Explain(err)
			hint := "remove the objects, or their versions, that begin with " + o.small + ", when their lock has ended"
			if o.versioned && objectstore.KindOf(err) == objectstore.KindForbidden {
				hint = "remove the versions that begin with " + o.small + " by other credentials: those of the location lack s3:ListBucketVersions or s3:DeleteObjectVersion, which Velero needs with deleteVersions only"
			}
			return "", Warn("something of this check stays in the bucket: "+what, hint)
		}
		return fmt.Sprintf("%d objects and versions removed", removed), nil
	})
}

func (o *objectStore) remove(ctx context.Context, key string) (int, error) {
	if o.versioned {
		return o.d.RemoveVersions(ctx, key)
	}
	there, err := o.d.ObjectExists(ctx, o.bucketName(), key)
	if err != nil || !there {
		return 0, err
	}
	return 1, o.d.DeleteObject(ctx, o.bucketName(), key)
}
