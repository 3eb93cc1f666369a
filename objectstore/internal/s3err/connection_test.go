package s3err

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTLS has servers that no connection can be made to, and wants the reason
// and the remedy.
func TestTLS(t *testing.T) {
	for _, c := range []struct {
		name   string
		server func(*tls.Config)
		kind   Kind
		want   []string
	}{
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, TLS, []string{"protocol version", "switch on TLS 1.2 or 1.3"}},
		{"RSA key exchange", func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, TLS, []string{"handshake failure", "RSA key exchange"}},
		{"client certificate, TLS 1.3", func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, TLS, []string{"certificate required", "wants a client certificate"}},
		{"client certificate, TLS 1.2", func(c *tls.Config) {
			c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
		}, TLS, []string{"wants a client certificate"}},
		{"expired", func(c *tls.Config) { c.Certificates = certificate(t, -48*time.Hour, -24*time.Hour, "127.0.0.1") }, Trust, []string{"ended on", "renew it"}},
		{"not yet", func(c *tls.Config) { c.Certificates = certificate(t, 24*time.Hour, 48*time.Hour, "127.0.0.1") }, Trust, []string{"holds from", "set the clock"}},
		{"other host", func(c *tls.Config) { c.Certificates = certificate(t, -time.Hour, time.Hour, "127.0.0.2") }, Trust, []string{"the certificate is for 127.0.0.2"}},
		{"unknown CA", nil, Trust, []string{"spec.objectStorage.caCert"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := failed(t, OpList, connect(t, c.server))
			require.Equal(t, c.kind, e.Kind, e)
			for _, want := range c.want {
				require.ErrorContains(t, e, want)
			}
		})
	}
	require.Equal(t, TLS, KindOf(connectPlain(t)))
	r := Reporter{Untrusted: []string{"caCert: certificate 2 of 3: negative serial number"}, Secrets: &Secrets{}, Log: silent()}
	require.ErrorContains(t, r.Failed(OpList, "b", "", connect(t, nil)), "could not be used: caCert: certificate 2 of 3: negative")
}

// connect returns the error of a request to a TLS server. Its certificate is
// trusted, unless change is nil.
func connect(t *testing.T, change func(*tls.Config)) error {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{}
	pool := x509.NewCertPool()
	if change != nil {
		change(server.TLS)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	if change != nil {
		parsed, err := x509.ParseCertificate(server.TLS.Certificates[0].Certificate[0])
		require.NoError(t, err)
		pool.AddCert(parsed)
	}
	return get(t, server.URL, pool)
}

func get(t *testing.T, address string, pool *x509.CertPool) error {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	resp, err := transport.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func connectPlain(t *testing.T) error {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return get(t, "https"+server.URL[len("http"):], nil)
}

// certificate signs itself for a host, from and until some time from now.
func certificate(t *testing.T, from, until time.Duration, host string) []tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until), IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}
}
