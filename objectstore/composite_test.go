package objectstore

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

// TestPartsAreVerified damages what real servers give of an object that was
// stored in parts.
func TestPartsAreVerified(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer, testbed.CephServer} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			testbed.RequirePart(t, kind.Part)
			behind, proxy := behindProxy(t, start(t, testbed.S3Options{Server: kind}))
			requireVerified(t, behind, proxy, map[string]string{"partSize": "5MiB", "verifyDownloads": "always"})
			if kind.Name == testbed.MinIOServer.Name {
				requireVerified(t, behind, proxy, map[string]string{"partSize": "5MiB", "checksumAlgorithm": "CRC32C"})
				requireVerified(t, behind, proxy, map[string]string{"partSize": "5MiB", "checksumAlgorithm": "SHA256"})
			}
		})
	}
}

func requireVerified(t *testing.T, s *server, p *faultProxy, more map[string]string) {
	bucket := s.bucket(t)
	f := &fixture{server: s, bucket: bucket, Store: s.open(t, bucket, more)}
	for i, size := range []int{wirePart + 1, 2 * wirePart, 3*wirePart + 7} {
		data := content(size, uint64(i))
		p.on(nil)
		f.put(t, "key", data)
		p.on(first(1, isMethod(http.MethodGet), cut(wirePart-100)))
		f.requireWhole(t, "key", data)
		p.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			forward.ServeHTTP(&damager{ResponseWriter: w}, r)
		})
		_, err := io.ReadAll(mustGet(t, f, "key"))
		require.Equal(t, KindCorrupt, KindOf(err), "%v of %d bytes: %v", more, size, err)
	}
	p.on(nil)
}

// TestMetadataOfAnotherObject has a server that leaves an object's metadata to
// the one that replaces it: it says nothing about that one.
func TestMetadataOfAnotherObject(t *testing.T) {
	info := minio.ObjectInfo{Size: 5, ETag: "0123456789abcdef0123456789abcdef", UserMetadata: minio.StringMap{crcName: crcValue([]byte("short"))}}
	require.NotNil(t, ownCheck(info))
	info.Size = 6
	require.Nil(t, ownCheck(info))
	info.Size, info.ETag = 5, "0123456789abcdef0123456789abcdef-2"
	require.Nil(t, ownCheck(info))
	info.UserMetadata[partsName] = "10000:4"
	require.NotNil(t, partsOf(info))
	info.Size = 9
	require.Nil(t, partsOf(info), "three parts, and the ETag says two")
}

func TestStretches(t *testing.T) {
	growing := stretchesOf(scheduleFor(&Settings{}, account.Endpoint{}))
	require.Equal(t, growing, parseStretches(growing.String()))
	require.Less(t, len(growing.String()), 200)
	fixed := stretchesOf(schedule{fixed: 5 * settings.MiB})
	require.Equal(t, "10000:5242880", fixed.String())
	total := int64(0)
	for number := 1; number <= maxParts; number++ {
		require.Equal(t, number, growing.count(total+1))
		total += growing.size(number)
		require.Equal(t, number, growing.count(total))
	}
	require.Zero(t, growing.count(total+1))
	for _, text := range []string{"", "x", "1", "1:0", "0:5", "5:1,5:1", "5:1,4:1", "10001:5", "1:-5", "1:9999999999999"} {
		require.Nil(t, parseStretches(text), text)
	}
}

func TestComposite(t *testing.T) {
	data := content(1000, 1)
	parts := stretches{{2, 100}, {maxParts, 250}}
	for _, size := range []int{1, 100, 101, 200, 201, 450, 451, 1000} {
		outer := md5.New()
		for at, number := 0, 1; at < size; number++ {
			end := min(size, at+int(parts.size(number)))
			sum := md5.Sum(data[at:end])
			outer.Write(sum[:])
			at = end
		}
		for _, step := range []int{1, 7, 100, 1000} {
			c := newComposite(md5.New, parts)
			_, err := io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{bytes.NewReader(data[:size])}, make([]byte, step))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%x", outer.Sum(nil)), fmt.Sprintf("%x", c.Sum(nil)), "%d in steps of %d", size, step)
		}
	}
}
