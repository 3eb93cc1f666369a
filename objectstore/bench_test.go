package objectstore

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkDownload shows what verifyDownloads costs: auto must be less than a
// tenth of the speed.
func BenchmarkDownload(b *testing.B) {
	real := startVersity(b)
	bucket := real.bucket(b)
	for _, size := range []int{10 << 10, 1 << 20, 15 << 20, 64 << 20} {
		mustPut(b, real.open(b, bucket, nil), bucket, "key", content(size, 1))
		for _, verify := range []string{"never", "auto", "always"} {
			s := real.open(b, bucket, map[string]string{"verifyDownloads": verify})
			b.Run(fmt.Sprintf("%dKiB/verify=%s", size>>10, verify), func(b *testing.B) {
				b.SetBytes(int64(size))
				for range b.N {
					body, err := s.GetObject(b.Context(), bucket, "key")
					require.NoError(b, err)
					n, err := io.Copy(io.Discard, body)
					require.NoError(b, err)
					require.EqualValues(b, size, n)
					body.Close()
				}
			})
		}
	}
}

// BenchmarkUpload is of one request and of many parts.
func BenchmarkUpload(b *testing.B) {
	real := startVersity(b)
	bucket := real.bucket(b)
	s := real.open(b, bucket, nil)
	for _, size := range []int{10 << 10, 1 << 20, 15 << 20, 256 << 20} {
		data := content(size, 1)
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for range b.N {
				mustPut(b, s, bucket, "key", data)
			}
		})
		require.True(b, bytes.Equal(data, readAll(b.Context(), b, s, bucket, "key")))
	}
}

// BenchmarkOpen is what Velero asks for before each volume of a restore.
func BenchmarkOpen(b *testing.B) {
	config := map[string]string{"s3Url": "https://127.0.0.1:1", "credentialsFile": credentialsFile(b, "ACCESS", "secret-access-key")}
	for _, bundle := range []string{"", "/etc/ssl/certs/ca-certificates.crt"} {
		b.Run("AWS_CA_BUNDLE="+bundle, func(b *testing.B) {
			b.Setenv("AWS_CA_BUNDLE", bundle)
			for range b.N {
				_, err := Open(b.Context(), testLog(b), config)
				require.NoError(b, err)
			}
		})
	}
}
