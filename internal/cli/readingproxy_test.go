package cli

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestReadingThroughTheLocationsProxy reads a storage that has a CA of its own and is
// reached by the location's proxy alone.
func TestReadingThroughTheLocationsProxy(t *testing.T) {
	s := newStorage(t, testbed.S3Options{TLS: true})
	s.store("velero", backuptest.New("nightly").Objects(t))
	ca, err := os.ReadFile(s.CAFile)
	require.NoError(t, err)
	real, err := url.Parse(s.Endpoint)
	require.NoError(t, err)
	const password = "the-proxy-password"
	proxy, tunnels := connectProxy(t, real.Host, "user", password)
	location := func(ca []byte, password string) string {
		path := filepath.Join(t.TempDir(), "location.yaml")
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: default, namespace: velero}
spec:
  provider: longshore.dev/s3-csi
  config: {s3Url: %q, region: us-east-1, maxRetries: "0", proxyUrl: %q}
  objectStorage: {bucket: %s, prefix: velero, caCert: %q}
`, "https://127.0.0.1:1", "http://user:"+password+"@"+proxy, bucket, base64.StdEncoding.EncodeToString(ca)), 0o600))
		return path
	}
	for command, wants := range map[string]string{
		"verify": "All that was read is whole", "logs": "backup=velero/nightly", "describe": "phase        Completed", "download": "",
	} {
		t.Run(command, func(t *testing.T) {
			read := func(file string) (status int, said string) {
				args := []string{command, "nightly", "--file", file, "--credentials-file", s.CredentialsFile}
				if command == "download" {
					args = append(args, "--to", filepath.Join(t.TempDir(), "archive"))
				}
				var out, errs bytes.Buffer
				status = Run(args, "test", &out, &errs)
				said = out.String() + errs.String()
				require.NotContains(t, said, password)
				require.NotContains(t, said, s.SecretKey)
				return status, said
			}
			before := tunnels.Load()
			status, said := read(location(ca, password))
			require.Equal(t, exitOK, status, said)
			require.Contains(t, said, wants)
			require.Greater(t, tunnels.Load(), before)

			status, said = read(location(nil, password))
			require.NotEqual(t, exitOK, status)
			require.Contains(t, said, "caCert", "it says what its certificate lacks")
			status, said = read(location(ca, "another"))
			require.NotEqual(t, exitOK, status)
			require.Contains(t, said, "Proxy Authentication Required")
		})
	}
}

// connectProxy is an HTTP proxy that wants a user and a password, and leads all to one
// address. It counts its tunnels.
func connectProxy(t *testing.T, target, user, password string) (address string, tunnels *atomic.Int64) {
	t.Helper()
	tunnels = new(atomic.Int64)
	wanted := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != wanted {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		far, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", target)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer far.Close()
		near, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer near.Close()
		tunnels.Add(1)
		_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(far, buffered)
			_ = far.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(near, far)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), tunnels
}
