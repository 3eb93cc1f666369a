package objectstore

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestUploadsThatHaveNotEnded finds those of a location, and how large they are.
func TestUploadsThatHaveNotEnded(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			real := start(t, testbed.S3Options{Server: kind})
			bucket := real.bucket(t)
			s := real.open(t, bucket, nil)
			for _, key := range []string{"velero/backups/a/a b.tar.gz", "velero/backups/b/b.tar.gz", "other/c"} {
				id, err := real.admin.NewMultipartUpload(t.Context(), bucket, key, minio.PutObjectOptions{})
				require.NoError(t, err)
				for part := range 2 {
					_, err := real.admin.PutObjectPart(t.Context(), bucket, key, id, part+1, strings.NewReader("content"), 7, minio.PutObjectPartOptions{})
					require.NoError(t, err)
				}
			}
			uploads, err := s.ListUploads(t.Context(), bucket, "velero/")
			require.NoError(t, err)
			require.Len(t, uploads, 2)
			for _, u := range uploads {
				require.Contains(t, []string{"velero/backups/a/a b.tar.gz", "velero/backups/b/b.tar.gz"}, u.Key)
				require.WithinDuration(t, time.Now(), u.Begun, time.Minute)
				size, err := s.UploadSize(t.Context(), bucket, u)
				require.NoError(t, err)
				require.EqualValues(t, 14, size)
			}
			require.NoError(t, real.admin.AbortMultipartUpload(t.Context(), bucket, uploads[0].Key, uploads[0].ID))
			_, err = s.UploadSize(t.Context(), bucket, uploads[0])
			require.Equal(t, KindNotFound, KindOf(err), err)
			left, err := s.ListUploads(t.Context(), bucket, "velero/")
			require.NoError(t, err)
			require.Len(t, left, 1)
		})
	}
}

// TestManyUploads reads all pages, and takes no page for the last that is not.
func TestManyUploads(t *testing.T) {
	pages := map[string]string{
		"":  `<IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker><Upload><Key>a</Key><UploadId>1</UploadId><Initiated>yesterday</Initiated></Upload>`,
		"a": `<IsTruncated>false</IsTruncated><Upload><Key>b</Key><UploadId>2</UploadId><Initiated>2026-11-27T01:00:00.000Z</Initiated></Upload>`,
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("uploads") {
			fmt.Fprint(w, `<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>0</NextPartNumberMarker></ListPartsResult>`)
			return
		}
		fmt.Fprint(w, "<ListMultipartUploadsResult>"+pages[r.URL.Query().Get("key-marker")]+"</ListMultipartUploadsResult>")
	}
	server := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(server.Close)
	s := openAt(t, server.URL, nil)

	uploads, err := s.ListUploads(t.Context(), "bucket", "")
	require.NoError(t, err)
	require.Equal(t, []Upload{{Key: "a", ID: "1"}, {Key: "b", ID: "2", Begun: time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC)}}, uploads)
	_, err = s.UploadSize(t.Context(), "bucket", uploads[0])
	require.ErrorContains(t, err, "makes no progress")

	pages[""] = `<IsTruncated>true</IsTruncated>`
	_, err = s.ListUploads(t.Context(), "bucket", "")
	require.ErrorContains(t, err, "the storage did not say where")
}
