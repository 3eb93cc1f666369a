package objectstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// server is a real S3 server under test.
type server struct {
	name     string
	endpoint string
	access   string
	secret   string
	caCert   string
	admin    *minio.Core
	process  *testbed.Process
	// versioned and locking say what kind of buckets it makes.
	versioned, locking bool
}

// config is what Velero would pass for a location in the bucket.
func (s *server) config(t testing.TB, bucket string, more map[string]string) map[string]string {
	config := map[string]string{
		"bucket":          bucket,
		"region":          "us-east-1",
		"s3Url":           s.endpoint,
		"credentialsFile": credentialsFile(t, s.access, s.secret),
	}
	if s.caCert != "" {
		config["caCert"] = s.caCert
	}
	maps.Copy(config, more)
	return config
}

// open opens a location in the bucket. It reads each object as one stream, however
// busy the machine is.
func (s *server) open(t testing.TB, bucket string, more map[string]string) *Store {
	store, err := Open(t.Context(), testLog(t), s.config(t, bucket, more))
	require.NoError(t, err)
	store.downloader.Ranges.AtOnce = 0
	return store
}

var bucketNumber = struct {
	sync.Mutex
	n int
}{}

// bucket makes a new bucket.
func (s *server) bucket(t testing.TB) string {
	bucketNumber.Lock()
	bucketNumber.n++
	name := fmt.Sprintf("bucket-%d", bucketNumber.n)
	bucketNumber.Unlock()
	s.makeBucket(t, name, minio.MakeBucketOptions{ObjectLocking: s.locking})
	if s.versioned {
		require.NoError(t, s.admin.EnableVersioning(t.Context(), name))
	}
	return name
}

// makeBucket makes a bucket. A server that has just started may need a moment.
func (s *server) makeBucket(t testing.TB, name string, o minio.MakeBucketOptions) {
	var err error
	require.Eventually(t, func() bool {
		err = s.admin.MakeBucket(t.Context(), name, o)
		return err == nil
	}, 20*time.Second, 50*time.Millisecond, "make bucket %s", name)
	require.NoError(t, err)
}

// uploads returns the multipart uploads that the server holds for the bucket.
func (s *server) uploads(t testing.TB, bucket string) []string {
	var keys []string
	result, err := s.admin.ListMultipartUploads(t.Context(), bucket, "", "", "", "", 1000)
	require.NoError(t, err)
	for _, u := range result.Uploads {
		keys = append(keys, u.Key)
	}
	return keys
}

func credentialsFile(t testing.TB, access, secret string) string {
	path := filepath.Join(t.TempDir(), "cloud")
	writeCredentials(t, path, access, secret)
	return path
}

func writeCredentials(t testing.TB, path, access, secret string) {
	remember(secret)
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", access, secret)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// everyLog collects what all stores of the tests log.
var everyLog lockedBuffer

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

func testLog(testing.TB) logrus.FieldLogger {
	log := logrus.New()
	log.SetLevel(logrus.DebugLevel)
	log.SetOutput(&everyLog)
	return log
}

// start runs an S3 server until the test ends.
func start(t testing.TB, o testbed.S3Options) *server {
	s3, err := testbed.ForTest(t).StartS3(t.Context(), o)
	require.NoError(t, err)
	admin, err := s3.Client()
	require.NoError(t, err)
	remember(s3.SecretKey)
	return &server{name: s3.Server.Name, endpoint: s3.Endpoint, access: s3.AccessKey, secret: s3.SecretKey, caCert: string(s3.CA), admin: admin, process: s3.Process}
}

func startVersity(t testing.TB) *server { return start(t, testbed.S3Options{}) }

// usedSecrets are the secrets of all tests.
var usedSecrets = struct {
	sync.Mutex
	list []string
}{}

func remember(secret string) {
	usedSecrets.Lock()
	defer usedSecrets.Unlock()
	if len(secret) >= 8 {
		usedSecrets.list = append(usedSecrets.list, secret)
	}
}

// formsOf are the forms in which a secret may turn up in a text.
func formsOf(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
	}
}

// leakedSecret returns a secret that the tests used and that stands in a log or
// in the error of an operation, which the log holds as well; or "". A signed URL
// is a secret, too.
func leakedSecret() string {
	usedSecrets.Lock()
	defer usedSecrets.Unlock()
	text := everyLog.text()
	for _, secret := range append(usedSecrets.list, "X-Amz-Signature=") {
		for _, form := range formsOf(secret) {
			if strings.Contains(text, form) {
				return secret
			}
		}
	}
	return ""
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// content returns size bytes that differ at every offset and for every seed.
func content(size int, seed uint64) []byte {
	data := make([]byte, size)
	_, _ = io.ReadFull(&noise{state: seed*2654435761 + 88172645463325252}, data)
	return data
}

// noise is an endless reader of pseudo-random bytes.
type noise struct{ state uint64 }

func (n *noise) Read(p []byte) (int, error) {
	for i := range p {
		if i%8 == 0 {
			n.state ^= n.state << 13
			n.state ^= n.state >> 7
			n.state ^= n.state << 17
		}
		p[i] = byte(n.state >> (i % 8 * 8))
	}
	return len(p), nil
}

// readAll reads an object whole.
func readAll(ctx context.Context, t testing.TB, s *Store, bucket, key string) []byte {
	body, err := s.GetObject(ctx, bucket, key)
	require.NoError(t, err)
	defer body.Close()
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	return data
}

// mustPut stores data under key.
func mustPut(t testing.TB, s *Store, bucket, key string, data []byte) {
	require.NoError(t, s.PutObject(t.Context(), bucket, key, bytes.NewReader(data)))
}
