package objectstore

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/stretchr/testify/require"
)

// reverseProxy is a reverse proxy as people put it before their storage, with
// its configuration for each case.
type reverseProxy struct {
	kind testbed.ProxyServer
	// right is a configuration with which everything works; it compresses what
	// may be compressed.
	right string
	// redirect sends http to https.
	redirect string
	// limited takes bodies of at most 1 MiB.
	limited string
	// renamed passes a name of its own on as the Host.
	renamed string
}

var behindNginx = reverseProxy{
	kind: testbed.NginxServer,
	right: `
  gzip on;
  gzip_types *;
  gzip_proxied any;
  gzip_min_length 1;
  server {
    listen {{.HTTP}};
    client_max_body_size 0;
    location / {
      proxy_pass http://{{.Target}};
      proxy_set_header Host $http_host;
    }
  }`,
	redirect: `
  server { listen {{.HTTP}}; return 301 https://{{.HTTPS}}$request_uri; }
  server {
    listen {{.HTTPS}} ssl;
    ssl_certificate {{.CertDir}}/public.crt;
    ssl_certificate_key {{.CertDir}}/private.key;
    location / {
      proxy_pass http://{{.Target}};
      proxy_set_header Host $http_host;
    }
  }`,
	limited: `
  server {
    listen {{.HTTP}};
    location / {
      proxy_pass http://{{.Target}};
      proxy_set_header Host $http_host;
    }
  }`,
	renamed: `
  server {
    listen {{.HTTP}};
    location / { proxy_pass http://{{.Target}}; }
  }`,
}

var behindHAProxy = reverseProxy{
	kind: testbed.HAProxyServer,
	right: `
  compression algo gzip
  compression type application/xml application/octet-stream
frontend http
  bind {{.HTTP}}
  default_backend storage
backend storage
  server storage {{.Target}}`,
	redirect: `
frontend http
  bind {{.HTTP}}
  http-request redirect prefix https://{{.HTTPS}} code 301
frontend https
  bind {{.HTTPS}} ssl crt {{.CertDir}}/both.pem
  default_backend storage
backend storage
  server storage {{.Target}}`,
	limited: `
frontend http
  bind {{.HTTP}}
  http-request deny deny_status 413 if { req.hdr_val(content-length) gt 1048576 }
  default_backend storage
backend storage
  server storage {{.Target}}`,
	renamed: `
frontend http
  bind {{.HTTP}}
  default_backend storage
backend storage
  http-request set-header Host storage.internal
  server storage {{.Target}}`,
}

// compressing is a proxy that compresses whatever passes, asked or not.
const compressing = `
frontend http
  bind {{.HTTP}}
  http-request set-header Accept-Encoding gzip
  compression algo gzip
  compression type application/xml application/octet-stream
  default_backend storage
backend storage
  server storage {{.Target}}`

func TestNginx(t *testing.T) {
	t.Parallel()
	testReverseProxy(t, behindNginx)
}

func TestHAProxy(t *testing.T) {
	t.Parallel()
	testReverseProxy(t, behindHAProxy)
}

func testReverseProxy(t *testing.T, p reverseProxy) {
	testbed.RequirePart(t, p.kind.Part)
	real := startVersity(t)
	t.Run("set up well", func(t *testing.T) {
		before, _ := behindReal(t, real, p.kind, p.right)
		conformance(t, before, map[string]string{"partSize": "5MiB"})
	})
	t.Run("redirects to https", func(t *testing.T) { testRedirect(t, real, p) })
	t.Run("limits bodies", func(t *testing.T) { testBodyLimit(t, real, p) })
	t.Run("changes the Host", func(t *testing.T) { testChangedHost(t, real, p) })
}

// behindReal returns the server as seen through a reverse proxy.
func behindReal(t *testing.T, s *server, kind testbed.ProxyServer, config string) (*server, *testbed.Proxy) {
	proxy, err := testbed.ForTest(t).StartProxy(t.Context(), testbed.ProxyOptions{
		Name: kind.Name, Server: kind, Config: config, Target: strings.TrimPrefix(s.endpoint, "http://"),
	})
	require.NoError(t, err)
	behind := *s
	behind.endpoint = "http://" + proxy.HTTP
	return &behind, proxy
}

func testRedirect(t *testing.T, real *server, p reverseProxy) {
	before, proxy := behindReal(t, real, p.kind, p.redirect)
	bucket := before.bucket(t)
	store := before.open(t, bucket, nil)
	for op, err := range everyCall(t.Context(), store, bucket) {
		require.Equal(t, s3err.NotS3, KindOf(err), "%s: %v", op, err)
		require.ErrorContains(t, err, "https://"+proxy.HTTPS, op)
		require.ErrorContains(t, err, "s3Url", op)
	}
	told := map[string]string{"s3Url": "https://" + proxy.HTTPS, "caCert": string(proxy.CA)}
	require.NoError(t, roundTrip(t.Context(), before.open(t, bucket, told), bucket, 1000))
}

func testBodyLimit(t *testing.T, real *server, p reverseProxy) {
	before, _ := behindReal(t, real, p.kind, p.limited)
	bucket := before.bucket(t)
	store := before.open(t, bucket, map[string]string{"partSize": "5MiB"})
	require.NoError(t, roundTrip(t.Context(), store, bucket, 1<<20))
	for _, size := range []int{1<<20 + 1, 11 << 20} {
		begin := time.Now()
		err := store.PutObject(t.Context(), bucket, "large", bytes.NewReader(content(size, 1)))
		require.ErrorContains(t, err, "413", "%d bytes", size)
		require.ErrorContains(t, err, "client_max_body_size")
		require.ErrorContains(t, err, "proxy-body-size")
		require.Less(t, time.Since(begin), 20*time.Second, "%d bytes: the limit stays, however often it is tried", size)
	}
	there, err := store.ObjectExists(t.Context(), bucket, "large")
	require.NoError(t, err)
	require.False(t, there)
	require.Empty(t, real.uploads(t, bucket))
}

func testChangedHost(t *testing.T, real *server, p reverseProxy) {
	before, _ := behindReal(t, real, p.kind, p.renamed)
	bucket := before.bucket(t)
	store := before.open(t, bucket, nil)
	for op, err := range everyCall(t.Context(), store, bucket) {
		require.ErrorContains(t, err, "SignatureDoesNotMatch", op)
		require.ErrorContains(t, err, "Host header", op)
	}
}

// TestProxyThatCompresses reads what it cannot keep a proxy from compressing.
func TestProxyThatCompresses(t *testing.T) {
	t.Parallel()
	testbed.RequirePart(t, testbed.HAProxy)
	real := startVersity(t)
	before, _ := behindReal(t, real, testbed.HAProxyServer, compressing)
	bucket := before.bucket(t)
	store := before.open(t, bucket, map[string]string{"partSize": "5MiB"})
	zeros := make([]byte, 7<<20)
	for _, key := range []string{"backups/a/small", "backups/b/large"} {
		data := zeros
		if strings.HasSuffix(key, "small") {
			data = zeros[:100_000]
		}
		mustPut(t, store, bucket, key, data)
		requireCompressed(t, store, bucket, key)
		require.True(t, bytes.Equal(data, readAll(t.Context(), t, store, bucket, key)), key)
	}
	prefixes, err := store.ListCommonPrefixes(t.Context(), bucket, "backups/", "/")
	require.NoError(t, err)
	require.Equal(t, []string{"backups/a/", "backups/b/"}, prefixes)
	keys, err := store.ListObjects(t.Context(), bucket, "")
	require.NoError(t, err)
	require.Equal(t, []string{"backups/b/large", "backups/a/small"}, keys)
}

// requireCompressed sees the proxy at work: it compresses although that was
// ruled out.
func requireCompressed(t *testing.T, store *Store, bucket, key string) {
	address, err := store.CreateSignedURL(t.Context(), bucket, key, time.Minute)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	request.Header.Set("Accept-Encoding", "identity")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, "gzip", response.Header.Get("Content-Encoding"))
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
}
