package account

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// opened is a location whose credentials are found.
type opened struct {
	*credentials.Credentials
	identity Identity
	log      *bytes.Buffer
}

// openWith finds the credentials of a location with these settings. The error is
// as it leaves.
func openWith(t testing.TB, config map[string]string) (*opened, error) {
	t.Helper()
	s := Default()
	if err := settings.Decode(config, &s); err != nil {
		return nil, err
	}
	o := &opened{log: &bytes.Buffer{}}
	log := logrus.New()
	log.SetLevel(logrus.DebugLevel)
	log.SetOutput(o.log)
	secrets := &s3err.Secrets{}
	found, identity, err := Credentials(t.Context(), &s, DefaultRegion, secrets, secrets.Log(log))
	if err != nil {
		r := s3err.Reporter{Endpoint: s.Endpoint().String(), Secrets: secrets, Log: log}
		return nil, r.Failed(s3err.OpOpen, "bucket", "", err)
	}
	o.Credentials, o.identity = found, identity
	return o, nil
}

// accessKeyOf returns the access key that a location signs with.
func accessKeyOf(t testing.TB, o *opened) string {
	t.Helper()
	value, err := o.GetWithContext(&credentials.CredContext{})
	require.NoError(t, err)
	return value.AccessKeyID
}

func serve(t testing.TB, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func within(t testing.TB, limit time.Duration, work func()) {
	t.Helper()
	start := time.Now()
	work()
	require.Less(t, time.Since(start), limit)
}

func credentialsFile(t testing.TB, access, secret string) string {
	return file(t, fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", access, secret))
}

func file(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cloud")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// newSecret has the form of an AWS secret key.
func newSecret() string {
	var random [30]byte
	_, _ = rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

func testCA(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "ca.crt"))
	require.NoError(t, err)
	return string(text)
}
