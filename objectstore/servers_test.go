package objectstore

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

// feature is something that not every S3 server can. try uses it on a server and
// returns nil when it works as S3 documents it.
type feature struct {
	name string
	try  func(ctx context.Context, t *testing.T, s *server) error
}

var features = []feature{
	{"multipart upload", tryMultipart},
	{"one request per small object", tryMD5ETag},
	{"resumed download", tryResume},
	{"tagging", tryTagging},
	{"storageClass", trySetting("storageClass", "REDUCED_REDUNDANCY")},
	{"serverSideEncryption: AES256", trySetting("serverSideEncryption", "AES256")},
	{"SSE-C", trySSEC},
	{"checksumAlgorithm: CRC32C", tryChecksum("CRC32C")},
	{"checksumAlgorithm: CRC64NVME", tryChecksum("CRC64NVME")},
	{"deleteVersions", tryVersions},
	{"objectLockMode", tryLock},
	{"rewrap", tryRewrap},
	{"conditional write (If-Match)", tryIfMatch},
}

const serversDoc = "../docs/servers.md"

// updateVariable makes the test write its rows into the document.
const updateVariable = "LONGSHORE_UPDATE_DOCS"

// TestServersDocument tries every feature on every server and compares the
// result with the document.
func TestServersDocument(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer, testbed.RcloneServer, testbed.SeaweedFSServer} {
		real := start(t, testbed.S3Options{Server: kind, TLS: true, Versioning: true})
		requireColumn(t, kind, featuresOf(t, real))
	}
}

func featuresOf(t *testing.T, s *server) []string {
	var cells []string
	for _, f := range features {
		cell := "yes"
		if err := f.try(t.Context(), t, s); err != nil {
			t.Logf("%s: %s: %v", s.name, f.name, err)
			cell = "no"
		}
		cells = append(cells, cell)
	}
	return cells
}

// rows are the first cells of the document's rows.
func rows() []string {
	names := []string{"version"}
	for _, f := range features {
		names = append(names, f.name)
	}
	return names
}

// requireColumn compares the server's column of the document, or writes it.
func requireColumn(t *testing.T, kind testbed.S3Server, cells []string) {
	version, err := kind.Part.Version()
	require.NoError(t, err)
	cells = append([]string{version}, cells...)
	text, err := os.ReadFile(serversDoc)
	require.NoError(t, err)
	name, lines := kind.Name, strings.Split(string(text), "\n")
	header := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "| feature |") })
	require.GreaterOrEqual(t, header, 0, "%s has no table", serversDoc)
	column := slices.Index(strings.Split(strings.TrimSuffix(lines[header], " |"), " | "), name)
	require.Positive(t, column, "%s has no column %q", serversDoc, name)
	for i, feature := range rows() {
		row := strings.Split(strings.TrimSuffix(lines[header+2+i], " |"), " | ")
		require.Equal(t, "| "+feature, row[0], "the row of %s", serversDoc)
		if os.Getenv(updateVariable) != "" {
			row[column] = cells[i]
			lines[header+2+i] = strings.Join(row, " | ") + " |"
		}
		require.Equal(t, cells[i], row[column], "%s: %s; run with %s=1 to write it", name, feature, updateVariable)
	}
	if os.Getenv(updateVariable) != "" {
		require.NoError(t, os.WriteFile(serversDoc, []byte(strings.Join(lines, "\n")), 0o644))
	}
}

var errDiffers = errors.New("it has no effect")

// roundTrip stores an object of the size with the settings and reads it.
func roundTrip(ctx context.Context, s *Store, bucket string, size int) error {
	data := content(size, uint64(size))
	if err := s.PutObject(ctx, bucket, "key", bytes.NewReader(data)); err != nil {
		return err
	}
	body, err := s.GetObject(ctx, bucket, "key")
	if err != nil {
		return err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err == nil && !bytes.Equal(got, data) {
		err = errDiffers
	}
	return err
}

// bothWays makes a round trip with one request and one with parts. A server may
// answer what it cannot do with an error that is worth a retry.
func bothWays(ctx context.Context, t *testing.T, s *server, bucket string, more map[string]string) error {
	config := map[string]string{"partSize": "5MiB", "retryTimeout": "2s"}
	for k, v := range more {
		config[k] = v
	}
	store := s.open(t, bucket, config)
	return errors.Join(roundTrip(ctx, store, bucket, 1000), roundTrip(ctx, store, bucket, 11<<20))
}

func tryMultipart(ctx context.Context, t *testing.T, s *server) error {
	return bothWays(ctx, t, s, s.bucket(t), nil)
}

func tryMD5ETag(ctx context.Context, t *testing.T, s *server) error {
	bucket := s.bucket(t)
	store := s.open(t, bucket, nil)
	mustPut(t, store, bucket, "key", []byte("content"))
	info, err := store.client.Stat(ctx, client.Brief, bucket, "key")
	if err == nil && info.ETag != md5Hex([]byte("content")) {
		err = errDiffers
	}
	return err
}

func tryResume(ctx context.Context, t *testing.T, s *server) error {
	bucket := s.bucket(t)
	store := s.open(t, bucket, nil)
	data := content(1<<20, 1)
	mustPut(t, store, bucket, "key", data)
	o := store.client.ReadOptions()
	o.Set("Range", "bytes=1000-")
	body, _, header, err := store.client.GetObject(wire.ExpectObject(ctx), bucket, "key", o)
	if err != nil {
		return err
	}
	defer body.Close()
	rest, err := io.ReadAll(body)
	if err == nil && (!bytes.Equal(data[1000:], rest) || header.Get("Content-Range") != fmt.Sprintf("bytes 1000-%d/%d", len(data)-1, len(data))) {
		err = errDiffers
	}
	return err
}

func md5Hex(data []byte) string {
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

func tryTagging(ctx context.Context, t *testing.T, s *server) error {
	bucket := s.bucket(t)
	if err := bothWays(ctx, t, s, bucket, map[string]string{"tagging": "a=b"}); err != nil {
		return err
	}
	set, err := s.admin.GetObjectTagging(ctx, bucket, "key", minio.GetObjectTaggingOptions{})
	if err == nil && set.ToMap()["a"] != "b" {
		err = errDiffers
	}
	return err
}

// trySetting accepts a server that takes the setting and keeps it.
func trySetting(key, value string) func(context.Context, *testing.T, *server) error {
	return func(ctx context.Context, t *testing.T, s *server) error {
		bucket := s.bucket(t)
		if err := bothWays(ctx, t, s, bucket, map[string]string{key: value}); err != nil {
			return err
		}
		info, err := s.admin.StatObject(ctx, bucket, "key", minio.StatObjectOptions{})
		if err != nil {
			return err
		}
		for name := range info.Metadata {
			if info.Metadata.Get(name) == value {
				return nil
			}
		}
		return errDiffers
	}
}

func trySSEC(ctx context.Context, t *testing.T, s *server) error {
	bucket := s.bucket(t)
	if err := bothWays(ctx, t, s, bucket, map[string]string{"customerKeyEncryptionFile": customerKey(t)}); err != nil {
		return err
	}
	if _, err := s.open(t, bucket, nil).client.Stat(ctx, client.Brief, bucket, "key"); err == nil {
		return errDiffers
	}
	return nil
}

// customerKey is the path of a new SSE-C key.
func customerKey(t testing.TB) string {
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	text := hex.EncodeToString(key) // 32 bytes that a log would show as they are
	remember(text)
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func tryChecksum(word string) func(context.Context, *testing.T, *server) error {
	return func(ctx context.Context, t *testing.T, s *server) error {
		bucket := s.bucket(t)
		if err := bothWays(ctx, t, s, bucket, map[string]string{"checksumAlgorithm": word}); err != nil {
			return err
		}
		store := s.open(t, bucket, map[string]string{"checksumAlgorithm": word})
		info, err := store.client.Stat(ctx, client.Brief, bucket, "key")
		if err == nil && info.Checksum((&Uploads{ChecksumAlgorithm: word}).Checksum(account.Endpoint{})) == "" {
			err = errDiffers
		}
		return err
	}
}

func tryVersions(ctx context.Context, t *testing.T, s *server) error {
	bucket := s.bucket(t)
	if err := s.admin.EnableVersioning(ctx, bucket); err != nil {
		return err
	}
	store := s.open(t, bucket, map[string]string{"deleteVersions": "true"})
	mustPut(t, store, bucket, "key", []byte("1"))
	mustPut(t, store, bucket, "key", []byte("2"))
	if n := len(versions(t, s, bucket, "key")); n != 2 {
		return fmt.Errorf("%w: %d versions", errDiffers, n)
	}
	if err := store.DeleteObject(ctx, bucket, "key"); err != nil {
		return err
	}
	if n := len(versions(t, s, bucket, "key")); n != 0 {
		return fmt.Errorf("%w: %d versions are left", errDiffers, n)
	}
	return nil
}

func tryLock(ctx context.Context, t *testing.T, s *server) error {
	bucket := "locked"
	if err := s.admin.MakeBucket(ctx, bucket, minio.MakeBucketOptions{ObjectLocking: true}); err != nil {
		return err
	}
	lock := map[string]string{"objectLockMode": "GOVERNANCE", "objectLockRetention": "1h"}
	if err := bothWays(ctx, t, s, bucket, lock); err != nil {
		return err
	}
	err := s.open(t, bucket, map[string]string{"deleteVersions": "true"}).DeleteObject(ctx, bucket, "key")
	if KindOf(err) != s3err.Locked {
		return fmt.Errorf("%w: deleting the version: %w", errDiffers, err)
	}
	return nil
}

func tryRewrap(ctx context.Context, t *testing.T, s *server) error {
	bucket, keys := s.bucket(t), encrypting(t)
	plain, store := s.open(t, bucket, nil), s.open(t, bucket, keys)
	for _, size := range []int{1000, 6 << 20} {
		data := content(size, 1)
		mustPut(t, plain, bucket, "key", data)
		if _, err := store.Rewrap(ctx, bucket, "key", RewrapOptions{SealPlain: true}); err != nil {
			return err
		}
		require.True(t, bytes.Equal(data, readAll(ctx, t, store, bucket, "key")))
		again, err := store.Rewrap(ctx, bucket, "key", RewrapOptions{SealPlain: true})
		require.NoError(t, err)
		require.Equal(t, StatePresent, again.Was)
	}
	return nil
}

// tryIfMatch writes with an ETag that the object does not have, in both ways.
func tryIfMatch(ctx context.Context, t *testing.T, s *server) error {
	bucket, data := s.bucket(t), []byte("content")
	mustPut(t, s.open(t, bucket, nil), bucket, "key", data)
	var o minio.PutObjectOptions
	o.SetMatchETag(md5Hex([]byte("another content")))
	_, err := s.admin.PutObject(ctx, bucket, "key", bytes.NewReader(data), int64(len(data)), "", "", o)
	if KindOf(err) != s3err.Changed {
		return fmt.Errorf("%w: put: %w", errDiffers, err)
	}
	id, err := s.admin.NewMultipartUpload(ctx, bucket, "key", minio.PutObjectOptions{})
	if err != nil {
		return err
	}
	part, err := s.admin.PutObjectPart(ctx, bucket, "key", id, 1, bytes.NewReader(data), int64(len(data)), minio.PutObjectPartOptions{})
	if err != nil {
		return err
	}
	_, err = s.admin.CompleteMultipartUpload(ctx, bucket, "key", id, []minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, o)
	if KindOf(err) != s3err.Changed {
		return fmt.Errorf("%w: complete: %w", errDiffers, err)
	}
	return nil
}

func TestRclone(t *testing.T) {
	t.Parallel()
	conformance(t, start(t, testbed.S3Options{Server: testbed.RcloneServer}), map[string]string{"partSize": "5MiB"})
}
