package objectstore

import (
	"bytes"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

func TestMinIO(t *testing.T) {
	t.Parallel()
	conformance(t, start(t, testbed.S3Options{Server: testbed.MinIOServer}), map[string]string{"partSize": "5MiB"})
}

// TestMinIOEncryptsWithCustomerKey runs the suite with SSE-C, but for signed URLs, which
// cannot work with it.
func TestMinIOEncryptsWithCustomerKey(t *testing.T) {
	t.Parallel()
	real := start(t, testbed.S3Options{Server: testbed.MinIOServer, TLS: true})
	more := map[string]string{"partSize": "5MiB", "customerKeyEncryptionFile": customerKey(t)}
	conformance(t, real, more, signedURLs)
	bucket := real.bucket(t)
	s := real.open(t, bucket, more)
	mustPut(t, s, bucket, "key", []byte("content"))
	plain := real.open(t, bucket, nil)
	_, err := plain.GetObject(t.Context(), bucket, "key")
	require.Error(t, err, "without the key nothing is read")
}

func TestMinIOLocksObjects(t *testing.T) {
	real := start(t, testbed.S3Options{Server: testbed.MinIOServer})
	bucket := "locked"
	real.makeBucket(t, bucket, minio.MakeBucketOptions{ObjectLocking: true})
	s := real.open(t, bucket, map[string]string{"partSize": "5MiB", "objectLockMode": "GOVERNANCE", "objectLockRetention": "1h", "deleteVersions": "true"})
	for _, size := range []int{100, 11 << 20} {
		mustPut(t, s, bucket, "key", content(size, 1))
		mode, until, err := real.admin.GetObjectRetention(t.Context(), bucket, "key", "")
		require.NoError(t, err)
		require.Equal(t, minio.Governance, *mode)
		require.WithinDuration(t, time.Now().Add(time.Hour), *until, time.Minute)
	}
	err := s.DeleteObject(t.Context(), bucket, "key")
	require.Equal(t, s3err.Locked, KindOf(err), "%v", err)
	bypassing := real.open(t, bucket, map[string]string{"deleteVersions": "true", "bypassGovernanceRetention": "true"})
	require.NoError(t, bypassing.DeleteObject(t.Context(), bucket, "key"))
	require.Empty(t, versions(t, real, bucket, "key"))
}

// TestMinIODefaultRetention has a bucket that locks what is written without
// being asked: the store learns from the server that it wants Content-MD5.
func TestMinIODefaultRetention(t *testing.T) {
	real := start(t, testbed.S3Options{Server: testbed.MinIOServer})
	bucket := "retained"
	real.makeBucket(t, bucket, minio.MakeBucketOptions{ObjectLocking: true})
	mode, days, unit := minio.Governance, uint(1), minio.Days
	require.NoError(t, real.admin.SetObjectLockConfig(t.Context(), bucket, &mode, &days, &unit))
	s := real.open(t, bucket, map[string]string{"partSize": "5MiB"})
	for i, size := range []int{100, 11 << 20} {
		data := content(size, uint64(i))
		mustPut(t, s, bucket, "key", data)
		require.True(t, bytes.Equal(data, readAll(t.Context(), t, s, bucket, "key")))
	}
}

func TestMinIOChecksumsAndTags(t *testing.T) {
	real := start(t, testbed.S3Options{Server: testbed.MinIOServer})
	for _, algorithm := range []string{"CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"} {
		t.Run(algorithm, func(t *testing.T) {
			bucket := real.bucket(t)
			s := real.open(t, bucket, map[string]string{"partSize": "5MiB", "checksumAlgorithm": algorithm, "tagging": "team=a%20b&x=y"})
			for i, size := range []int{100, 11 << 20} {
				data := content(size, uint64(i))
				mustPut(t, s, bucket, "key", data)
				require.True(t, bytes.Equal(data, readAll(t.Context(), t, s, bucket, "key")))
				var o minio.StatObjectOptions
				o.Set("x-amz-checksum-mode", "ENABLED")
				info, err := real.admin.StatObject(t.Context(), bucket, "key", o)
				require.NoError(t, err)
				require.NotEmpty(t, info.Checksum((&Uploads{ChecksumAlgorithm: algorithm}).Checksum(account.Endpoint{})))
				set, err := real.admin.GetObjectTagging(t.Context(), bucket, "key", minio.GetObjectTaggingOptions{})
				require.NoError(t, err)
				require.Equal(t, map[string]string{"team": "a b", "x": "y"}, set.ToMap())
			}
		})
	}
}
