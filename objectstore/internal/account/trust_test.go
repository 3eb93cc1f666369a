package account

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBundle has storage and STS behind certificates that only AWS_CA_BUNDLE
// knows, and a bundle that changes.
func TestBundle(t *testing.T) {
	withoutEnvironment(t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "bundle")
	t.Setenv("AWS_CA_BUNDLE", path)
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	config := map[string]string{"credentialsFile": credentialsFile(t, "ACCESS", newSecret()), "roleArn": "arn:aws:iam::123456789012:role/velero"}
	for _, c := range []struct {
		bundle []byte
		want   string
	}{
		{[]byte("no certificate"), "custom CA bundle"},
		{append([]byte(testCA(t)), certificateOf(server)...), "403"},
		{append(certificateOf(server), []byte(testCA(t))...), "403"},
		{[]byte(testCA(t)), "x509"},
	} {
		require.NoError(t, os.WriteFile(path, c.bundle, 0o600))
		require.NoError(t, os.Chtimes(path, time.Time{}, time.Unix(int64(len(c.want)), 0)))
		_, err := openWith(t, config)
		require.ErrorContains(t, err, c.want)
	}
	require.NoError(t, os.WriteFile(path, certificateOf(server), 0o600))
	pool := (&Settings{}).Trust().Pool
	_, err := server.Certificate().Verify(x509.VerifyOptions{Roots: pool})
	require.NoError(t, err)
}

func certificateOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
