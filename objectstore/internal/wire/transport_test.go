package wire

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// TestBundleThatChanges has the CA of the storage put into the file that
// AWS_CA_BUNDLE names while the location is open.
func TestBundleThatChanges(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "bundle")
	t.Setenv("AWS_CA_BUNDLE", path)
	way := Bare(&account.Settings{S3URL: server.URL}, Limits{Answer: time.Minute, Stall: time.Minute})
	require.Equal(t, s3err.Trust, s3err.KindOf(get(t, way, server.URL)))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(path, ca, 0o600))
	require.NoError(t, get(t, way, server.URL))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.Equal(t, s3err.Trust, s3err.KindOf(get(t, way, server.URL)), "nor does a former connection go on to be used")
}

// TestNoTLS has a server that speaks plain HTTP where TLS is expected, for which
// net/http has a text of its own.
func TestNoTLS(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	client := http.Client{Transport: Bare(&account.Settings{}, Limits{Answer: time.Minute, Stall: time.Minute})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https"+server.URL[len("http"):], nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	require.Equal(t, s3err.TLS, s3err.KindOf(err), "%v", err)
}

// TestCompressedAnswerThatBreaksOff fails with an error that wraps io.EOF, and is not
// empty.
func TestCompressedAnswerThatBreaksOff(t *testing.T) {
	gzipped := http.Header{"Content-Encoding": {"gzip"}}
	_, err := Decoded(gzipped, iotest.ErrReader(fmt.Errorf("broken off: %w", io.EOF)))
	require.ErrorContains(t, err, "broken off")
	_, err = Decoded(gzipped, strings.NewReader(""))
	require.NoError(t, err)
}

func get(t *testing.T, way http.RoundTripper, address string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	resp, err := way.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}
