package testbed

import (
	"io"
	"os"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

// TestSmallDisk fills the disk of a server and looks that nobody else sees it.
func TestSmallDisk(t *testing.T) {
	realParts(t)
	RequireDisk(t)
	s3, err := ForTest(t).StartS3(t.Context(), S3Options{Disk: 4 << 20, Buckets: []string{"backups"}})
	require.NoError(t, err)
	client, err := s3.Client()
	require.NoError(t, err)
	put := func(key string, size int64) error {
		_, err := client.Client.PutObject(t.Context(), "backups", key, io.LimitReader(zeros{}, size), size, minio.PutObjectOptions{})
		return err
	}
	require.NoError(t, put("fits", 1<<20))
	require.ErrorContains(t, put("too-large", 8<<20), "No space left")
	entries, err := os.ReadDir(s3.Dir)
	require.NoError(t, err)
	require.Empty(t, entries, "the file system is mounted for the server alone")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
