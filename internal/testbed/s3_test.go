package testbed

import (
	"bytes"
	"io"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

func TestS3ServerKeepsObjectsOverARestart(t *testing.T) {
	realParts(t)
	for _, server := range S3Servers() {
		for _, tls := range []bool{false, true} {
			t.Run(server.Name+" "+scheme(tls), func(t *testing.T) { keepsObjects(t, server, tls) })
		}
	}
}

func keepsObjects(t *testing.T, server S3Server, tls bool) {
	bed := ForTest(t)
	s3, err := bed.StartS3(t.Context(), S3Options{Server: server, TLS: tls, Versioning: true, Buckets: []string{"backups"}})
	require.NoError(t, err)
	require.Equal(t, tls, len(s3.CA) > 0)
	client, err := s3.Client()
	require.NoError(t, err)
	_, err = client.Client.PutObject(t.Context(), "backups", "a/b", bytes.NewReader([]byte("text")), 4, minio.PutObjectOptions{})
	require.NoError(t, err)

	require.NoError(t, s3.Restart(t.Context()))
	require.NoError(t, s3.CreateBucket(t.Context(), "backups"))
	keys, err := s3.Keys(t.Context(), "backups", "")
	require.NoError(t, err)
	require.Equal(t, []string{"a/b"}, keys)
	body, _, _, err := client.GetObject(t.Context(), "backups", "a/b", minio.GetObjectOptions{})
	require.NoError(t, err)
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "text", string(text))
}
