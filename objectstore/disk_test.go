package objectstore

import (
	"bytes"
	"testing"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/stretchr/testify/require"
)

// TestFullDisk has a real server whose disk is too small for what it is sent.
// The error says so in the server's words, nothing counts as stored, what was
// under the key is still there, no part stays behind, and where there is room
// the next upload works.
func TestFullDisk(t *testing.T) {
	testbed.RequireDisk(t)
	const disk = 32 << 20
	for _, c := range []struct {
		name     string
		partSize string
		ballast  int
		size     int
	}{
		{"a single request that is too large", "48MiB", 0, disk},
		{"a single request when others fill the disk", "48MiB", disk - 4<<20, 6 << 20},
		{"a multipart upload that is too large", "5MiB", 0, disk + 8<<20},
		{"a multipart upload when others fill the disk", "5MiB", disk - 9<<20, 12 << 20},
		{"parts that fit and cannot be put together", "5MiB", 0, disk - 7<<20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			real := start(t, testbed.S3Options{Disk: disk})
			bucket := real.bucket(t)
			f := &fixture{server: real, bucket: bucket, Store: real.open(t, bucket, map[string]string{"partSize": c.partSize})}
			former := content(100_000, 1)
			f.put(t, "key", former)
			mustPut(t, real.open(t, bucket, map[string]string{"partSize": "64MiB"}), bucket, "ballast", content(c.ballast, 2))
			for _, key := range []string{"key", "new"} {
				err := f.PutObject(t.Context(), bucket, key, bytes.NewReader(content(c.size, 3)))
				require.Equal(t, s3err.Full, KindOf(err), "%v", err)
				require.ErrorContains(t, err, "InsufficientStorage: No space left on device")
				require.ErrorContains(t, err, "free space in the storage")
				f.requireClean(t)
			}
			f.requireWhole(t, "key", former)
			require.False(t, f.exists(t, "new"))
			require.NoError(t, f.DeleteObject(t.Context(), bucket, "ballast"))
			again := content(min(c.size, disk/3), 4)
			f.put(t, "key", again)
			f.requireWhole(t, "key", again)
		})
	}
}
