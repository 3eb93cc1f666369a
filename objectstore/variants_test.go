package objectstore

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

// TestHTTPS runs the suite over https with a CA that only the location knows.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	real := start(t, testbed.S3Options{TLS: true})
	conformance(t, real, map[string]string{"partSize": "5MiB"})
	bucket := real.bucket(t)
	unknown := real.open(t, bucket, map[string]string{"caCert": testCA(t)})
	_, err := unknown.ObjectExists(t.Context(), bucket, "key")
	require.Equal(t, s3err.Trust, KindOf(err), "%v", err)
	skipping := real.open(t, bucket, map[string]string{"caCert": testCA(t), "insecureSkipTLSVerify": "true"})
	_, err = skipping.ObjectExists(t.Context(), bucket, "key")
	require.NoError(t, err)
}

// anyHost is an HTTP proxy that takes every request to one server, whatever the
// host: names of buckets before the host need no DNS.
func anyHost(t testing.TB, s *server) string {
	target, err := url.Parse(s.endpoint)
	require.NoError(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestVirtualHosts runs the suite with the bucket's name before the host.
func TestVirtualHosts(t *testing.T) {
	versity, minio := testbed.VersityGateway, testbed.MinIOServer
	versity.Command = func(r testbed.S3Run) (args, env []string) {
		args, env = testbed.VersityGateway.Command(r)
		return append([]string{"--virtual-domain", "s3.test"}, args...), env
	}
	minio.Command = func(r testbed.S3Run) (args, env []string) {
		args, env = testbed.MinIOServer.Command(r)
		return args, append(env, "MINIO_DOMAIN=s3.test")
	}
	for _, kind := range []testbed.S3Server{versity, minio} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			real := start(t, testbed.S3Options{Server: kind})
			more := map[string]string{"s3Url": "http://s3.test", "addressing": "virtual", "proxyUrl": anyHost(t, real), "partSize": "5MiB"}
			conformance(t, real, more)
		})
	}
}

// TestVersionedBuckets runs the suite where nothing is ever replaced or gone.
func TestVersionedBuckets(t *testing.T) {
	for _, kind := range testbed.S3Servers() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			real := start(t, testbed.S3Options{Server: kind, Versioning: true})
			real.versioned = true
			conformance(t, real, map[string]string{"partSize": "5MiB", "deleteVersions": "true"})
		})
	}
}

// TestLockedObjects runs the suite with every object locked. MinIO says of a
// bucket that is missing only that it has no object lock.
func TestLockedObjects(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.MinIOServer, testbed.CephServer} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			testbed.RequirePart(t, kind.Part)
			real := start(t, testbed.S3Options{Server: kind})
			real.locking = true
			locked := map[string]string{"partSize": "5MiB", "objectLockMode": "GOVERNANCE", "objectLockRetention": "1h"}
			conformance(t, real, locked, noBucket)
			real.locking = false
			bucket := real.bucket(t)
			err := real.open(t, bucket, locked).PutObject(t.Context(), bucket, "key", strings.NewReader("x"))
			require.ErrorContains(t, err, "InvalidRequest")
			require.Regexp(t, "leave out the settings|bucket with object lock", err.Error())
		})
	}
}

// TestPublicURL signs for another address than the store itself uses.
func TestPublicURL(t *testing.T) {
	real := startVersity(t)
	public, proxy := behindProxy(t, real)
	bucket := real.bucket(t)
	s := real.open(t, bucket, map[string]string{"publicUrl": public.endpoint})
	mustPut(t, s, bucket, "dir/log.gz", []byte("content"))
	require.Zero(t, proxy.count(""))
	address, err := s.CreateSignedURL(t.Context(), bucket, "dir/log.gz", 10*time.Minute)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(address, public.endpoint+"/"), address)
	require.Zero(t, proxy.count(""), "signing sends nothing")
	f := &fixture{server: real, bucket: bucket, Store: s}
	require.Equal(t, "content", string(fetch(t, f, address)))
	require.Equal(t, 1, proxy.count("GET"))
}

// forwardProxy is an HTTP proxy that wants a user and a password.
func forwardProxy(t testing.TB, user, password string) (address string, requests *int) {
	requests = new(int)
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requests++
		if r.Header.Get("Proxy-Authorization") != want {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host }}).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return fmt.Sprintf("http://%s:%s@%s", user, password, strings.TrimPrefix(server.URL, "http://")), requests
}

func TestProxyURL(t *testing.T) {
	real := startVersity(t)
	bucket := real.bucket(t)
	remember("the-proxy-password")
	address, requests := forwardProxy(t, "user", "the-proxy-password")
	s := real.open(t, bucket, map[string]string{"proxyUrl": address})
	mustPut(t, s, bucket, "key", []byte("content"))
	require.Equal(t, "content", string(readAll(t.Context(), t, s, bucket, "key")))
	require.Equal(t, 2, *requests)
	refused := real.open(t, bucket, map[string]string{"proxyUrl": strings.Replace(address, "the-", "not-the-", 1), "maxRetries": "0"})
	_, err := refused.ObjectExists(t.Context(), bucket, "key")
	require.ErrorContains(t, err, "407")
}

func TestWriteProbe(t *testing.T) {
	real := startVersity(t)
	bucket := real.bucket(t)
	s := real.open(t, bucket, map[string]string{"writeProbe": "true", "prefix": "some/prefix"})
	keys, err := s.ListObjects(t.Context(), bucket, "")
	require.NoError(t, err)
	require.Empty(t, keys, "the probe cleans up")
	_, err = Open(t.Context(), testLog(t), real.config(t, "no-such-bucket", map[string]string{"writeProbe": "true"}))
	require.Equal(t, s3err.NoBucket, KindOf(err), "%v", err)
	behind, proxy := behindProxy(t, real)
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method == http.MethodPut {
			answer(http.StatusForbidden, "AccessDenied")(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	})
	_, err = Open(t.Context(), testLog(t), behind.config(t, bucket, map[string]string{"writeProbe": "true"}))
	require.Equal(t, s3err.Forbidden, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "the credentials need s3:PutObject")
}

// TestWriteProbeLeavesNothing probes a versioned bucket, and one that locks what
// is written.
func TestWriteProbeLeavesNothing(t *testing.T) {
	real := start(t, testbed.S3Options{Server: testbed.MinIOServer})
	real.versioned = true
	bucket := real.bucket(t)
	s := real.open(t, bucket, map[string]string{"writeProbe": "true"})
	for o := range real.admin.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		require.NoError(t, o.Err)
		t.Errorf("the probe left %q, version %s (delete marker: %t)", o.Key, o.VersionID, o.IsDeleteMarker)
	}
	require.NoError(t, s.PutObject(t.Context(), bucket, "key", strings.NewReader("content")))
	_, err := Open(t.Context(), testLog(t), real.config(t, bucket, map[string]string{"writeProbe": "true", "objectLockMode": "GOVERNANCE", "objectLockRetention": "1h"}))
	require.ErrorContains(t, err, "writeProbe: cannot be used together with objectLockMode")
	locking := "locks-by-default"
	real.makeBucket(t, locking, minio.MakeBucketOptions{ObjectLocking: true})
	mode, days, unit := minio.Governance, uint(1), minio.Days
	require.NoError(t, real.admin.SetBucketObjectLockConfig(t.Context(), locking, &mode, &days, &unit))
	_, err = Open(t.Context(), testLog(t), real.config(t, locking, map[string]string{"writeProbe": "true"}))
	require.Equal(t, s3err.Locked, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "do without writeProbe")
}

// TestWriteProbeThatIsNotProven has a storage that takes what is written, proves
// nothing of it, and does not show it.
func TestWriteProbeThatIsNotProven(t *testing.T) {
	t.Parallel()
	puts, stored := 0, map[string]bool{}
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Request-Id", "1")
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.Method {
		case http.MethodPut:
			puts++
			stored[r.URL.Path] = true
			w.Header().Set("Etag", `"of-a-kms-key"`)
		case http.MethodDelete:
			delete(stored, r.URL.Path)
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
	_, err := openWith(t, map[string]string{"region": "us-east-1", "s3Url": address, "writeProbe": "true", "credentialsFile": credentialsFile(t, "ACCESS", "a-secret-key")})
	require.ErrorContains(t, err, "write probe: put object")
	require.Equal(t, 1, puts)
	require.Empty(t, stored)
}

// TestWriteProbeEnds though the storage goes on failing for longer.
func TestWriteProbeEnds(t *testing.T) {
	t.Parallel()
	var removed atomic.Bool
	store := openAt(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodDelete {
			removed.Store(true)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}), map[string]string{"maxRetries": "1000"})
	store.settings.WriteProbe = true
	within(t, 10*time.Second, func() {
		err := store.probe(t.Context(), time.Second)
		require.Equal(t, s3err.Timeout, KindOf(err), "%v", err)
		require.ErrorContains(t, err, "not done after 1s; before that: the answer is HTTP 503")
	})
	require.True(t, removed.Load())
}

func TestDeleteVersions(t *testing.T) {
	real := start(t, testbed.S3Options{Versioning: true})
	bucket := real.bucket(t)
	require.NoError(t, real.admin.EnableVersioning(t.Context(), bucket))
	s := real.open(t, bucket, map[string]string{"deleteVersions": "true"})
	plain := real.open(t, bucket, nil)
	for i := range 3 {
		mustPut(t, plain, bucket, "dir/key", content(100, uint64(i)))
		mustPut(t, plain, bucket, "dir/key2", content(100, uint64(i)))
	}
	require.NoError(t, plain.DeleteObject(t.Context(), bucket, "dir/key"))
	require.Len(t, versions(t, real, bucket, "dir/key"), 4)
	require.NoError(t, s.DeleteObject(t.Context(), bucket, "dir/key"))
	require.Empty(t, versions(t, real, bucket, "dir/key"))
	require.Len(t, versions(t, real, bucket, "dir/key2"), 3, "a key that starts the same is left alone")
	require.NoError(t, s.DeleteObject(t.Context(), bucket, "dir/key"))
}

func versions(t testing.TB, s *server, bucket, key string) []string {
	var ids []string
	for o := range s.admin.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Prefix: key, WithVersions: true, Recursive: true}) {
		require.NoError(t, o.Err)
		if o.Key == key {
			ids = append(ids, o.VersionID)
		}
	}
	return ids
}

// TestHeadersOfSettings looks at what is sent for the settings that a server
// here does not know.
func TestHeadersOfSettings(t *testing.T) {
	headers := make(chan http.Header, 100)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPut {
			headers <- r.Header
		}
		w.WriteHeader(http.StatusForbidden)
	})
	for _, c := range []struct {
		config map[string]string
		want   map[string]string
	}{
		{map[string]string{"storageClass": "STANDARD_IA", "acl": "bucket-owner-full-control", "tagging": "team=a%20b&x=y"},
			map[string]string{"X-Amz-Storage-Class": "STANDARD_IA", "X-Amz-Acl": "bucket-owner-full-control", "X-Amz-Tagging": "team=a+b&x=y"}},
		{map[string]string{"serverSideEncryption": "AES256"}, map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}},
		{map[string]string{"kmsKeyId": "the-key", "bucketKey": "true", "kmsContext": `{"a":"b"}`}, map[string]string{
			"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "the-key",
			"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true", "X-Amz-Server-Side-Encryption-Context": base64.StdEncoding.EncodeToString([]byte(`{"a":"b"}`)),
		}},
		{map[string]string{"serverSideEncryption": "aws:kms:dsse"}, map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms:dsse"}},
		{map[string]string{"objectLockMode": "COMPLIANCE", "objectLockRetention": "720h", "objectLockLegalHold": "true"},
			map[string]string{"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Legal-Hold": "ON", "Content-Md5": md5Of([]byte("body"))}},
		{map[string]string{"contentMD5": "true"}, map[string]string{"Content-Md5": md5Of([]byte("body"))}},
		{map[string]string{"checksumAlgorithm": "CRC32C"}, map[string]string{"X-Amz-Checksum-Crc32c": minio.ChecksumCRC32C.EncodeToString([]byte("body"))}},
		{map[string]string{"requesterPays": "true", "expectedBucketOwner": "123456789012"},
			map[string]string{"X-Amz-Request-Payer": "requester", "X-Amz-Expected-Bucket-Owner": "123456789012"}},
	} {
		s := openAt(t, address, c.config)
		require.Error(t, s.PutObject(t.Context(), "bucket", "key", strings.NewReader("body")))
		sent := <-headers
		for name, value := range c.want {
			require.Equal(t, value, sent.Get(name), "%v", c.config)
			if strings.HasPrefix(name, "X-Amz-") {
				require.Contains(t, sent.Get("Authorization"), strings.ToLower(name), "%s must be signed", name)
			}
		}
	}
	s := openAt(t, address, map[string]string{"anonymous": "true", "credentialsFile": ""})
	require.Error(t, s.PutObject(t.Context(), "bucket", "key", strings.NewReader("body")))
	require.Empty(t, (<-headers).Get("Authorization"))
}

func md5Of(data []byte) string {
	sum := md5.Sum(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestCustomerKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("too short"), 0o600))
	config := map[string]string{"s3Url": "https://127.0.0.1:1", "customerKeyEncryptionFile": path, "bucket": "bucket", "credentialsFile": credentialsFile(t, "A", "secret-key")}
	_, err := Open(t.Context(), testLog(t), config)
	require.ErrorContains(t, err, "holds 9 bytes, and an SSE-C key has 32")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("k"), 32), 0o600))
	s, err := Open(t.Context(), testLog(t), config)
	require.NoError(t, err)
	_, err = s.CreateSignedURL(t.Context(), "bucket", "key", time.Minute)
	require.Equal(t, s3err.Unsupported, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "velero backup logs")
}

// TestIgnoredEncryption has a server that takes no notice of encryption.
func TestIgnoredEncryption(t *testing.T) {
	real := startVersity(t)
	bucket := real.bucket(t)
	s := real.open(t, bucket, map[string]string{"partSize": "5MiB", "serverSideEncryption": "AES256"})
	for _, size := range []int{1000, 11 << 20} {
		err := s.PutObject(t.Context(), bucket, "key", bytes.NewReader(content(size, 1)))
		require.Equal(t, s3err.Unsupported, KindOf(err), "%v", err)
		require.ErrorContains(t, err, "ignored that it was to be encrypted; it was removed")
		there, err := s.ObjectExists(t.Context(), bucket, "key")
		require.NoError(t, err)
		require.False(t, there)
	}
}

// TestIgnoredEncryptionOfReplaced has such a server, and objects that are there already:
// one that has no versions keeps what was written, or nothing would be left.
func TestIgnoredEncryptionOfReplaced(t *testing.T) {
	real := start(t, testbed.S3Options{Versioning: true})
	for _, size := range []int{1000, 11 << 20} {
		data := content(size, 1)
		for _, versioned := range []bool{false, true} {
			real.versioned = versioned
			bucket := real.bucket(t)
			mustPut(t, real.open(t, bucket, nil), bucket, "key", []byte("former"))
			s := real.open(t, bucket, map[string]string{"partSize": "5MiB", "serverSideEncryption": "AES256"})
			err := s.PutObject(t.Context(), bucket, "key", bytes.NewReader(data))
			if versioned {
				require.ErrorContains(t, err, "ignored that it was to be encrypted; it was removed")
				require.Equal(t, "former", string(readAll(t.Context(), t, s, bucket, "key")))
				require.Len(t, versions(t, real, bucket, "key"), 1, "neither the new version nor a delete marker")
				continue
			}
			require.Equal(t, s3err.NotConfirmed, KindOf(err), "%v", err)
			require.ErrorContains(t, err, "it is whole, and stays")
			require.True(t, bytes.Equal(data, readAll(t.Context(), t, s, bucket, "key")))
		}
	}
}

// TestShownEncryption looks at what is there before it writes only until the storage has
// shown that it encrypts.
func TestShownEncryption(t *testing.T) {
	behind, proxy := behindProxy(t, startVersity(t))
	bucket := behind.bucket(t)
	s := behind.open(t, bucket, map[string]string{"serverSideEncryption": "AES256"})
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&shown{w, func(h http.Header) { h.Set("X-Amz-Server-Side-Encryption", "AES256") }}, r)
	})
	for range 3 {
		mustPut(t, s, bucket, "key", []byte("content"))
	}
	require.Equal(t, 1+3, proxy.count("HEAD"), "one before the first, and one after each")
}

// TestCustomerKeyFromSecret reads the key through a Kubernetes API of one path.
func TestCustomerKeyFromSecret(t *testing.T) {
	api := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/velero/secrets/sse" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"secrets \"none\" not found","reason":"NotFound","code":404}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"kind":"Secret","apiVersion":"v1","data":{"key":%q,"short":"eA=="}}`, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)))
	})
	u, err := url.Parse(api)
	require.NoError(t, err)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(fmt.Sprintf(`{"clusters":[{"name":"c","cluster":{"server":"http://%s"}}],"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`, u.Host)), 0o600))
	t.Setenv("KUBECONFIG", kubeconfig)
	t.Setenv("VELERO_NAMESPACE", "velero")
	for secret, want := range map[string]string{"sse/key": "", "sse/short": "holds 1 bytes", "sse/none": `read Secret velero/sse: it has no key "none"`, "none/key": "get Secret velero/none"} {
		_, err := Open(t.Context(), testLog(t), map[string]string{
			"s3Url": "https://127.0.0.1:1", "customerKeyEncryptionSecret": secret, "credentialsFile": credentialsFile(t, "A", "secret-key"),
		})
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "customerKeyEncryptionSecret")
	}
}

// TestRestartedServer stops the real server in the middle of an upload and of a
// download, and starts it again.
func TestRestartedServer(t *testing.T) {
	real := startVersity(t)
	bucket := real.bucket(t)
	s := real.open(t, bucket, map[string]string{"partSize": "5MiB"})
	data := content(60<<20, 1)
	restart := func() {
		require.NoError(t, real.process.Restart(t.Context()))
	}
	require.NoError(t, s.PutObject(t.Context(), bucket, "key", &interrupted{Reader: bytes.NewReader(data), after: 30 << 20, act: restart}))
	body, err := s.GetObject(t.Context(), bucket, "key")
	require.NoError(t, err)
	defer body.Close()
	got, err := io.ReadAll(&interrupted{Reader: body, after: 30 << 20, act: restart})
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got), "the content differs")
	require.Empty(t, real.uploads(t, bucket))
}

// interrupted does something once, in the middle of being read.
type interrupted struct {
	io.Reader
	after int
	act   func()
}

func (r *interrupted) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.after -= n; r.after <= 0 && r.act != nil {
		r.act()
		r.act = nil
	}
	return n, err
}
