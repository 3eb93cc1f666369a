package testbed

import (
	"bytes"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

func TestSeaweedFSServes(t *testing.T) {
	realParts(t)
	for _, tls := range []bool{false, true} {
		t.Run(scheme(tls), func(t *testing.T) {
			bed, err := New(Options{})
			require.NoError(t, err)
			defer bed.Close()
			s3, err := bed.StartS3(t.Context(), S3Options{Server: SeaweedFSServer, TLS: tls, Buckets: []string{"backups"}})
			require.NoError(t, err)
			client, err := s3.Client()
			require.NoError(t, err)
			_, err = client.Client.PutObject(t.Context(), "backups", "a/b", bytes.NewReader([]byte("text")), 4, minio.PutObjectOptions{})
			require.NoError(t, err)
			keys, err := s3.Keys(t.Context(), "backups", "")
			require.NoError(t, err)
			require.Equal(t, []string{"a/b"}, keys)

			require.NotEmpty(t, bed.outside)
			require.FileExists(t, bed.outside[0])
			require.NoError(t, bed.Close())
			for _, path := range bed.outside {
				require.NoFileExists(t, path)
			}
			require.NoDirExists(t, bed.Dir())
		})
	}
}
