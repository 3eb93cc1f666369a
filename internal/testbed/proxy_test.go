package testbed

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProxies has a proxy that redirects to its https and passes that on.
func TestProxies(t *testing.T) {
	realParts(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "path "+r.URL.Path)
	}))
	t.Cleanup(origin.Close)
	for _, c := range []struct {
		server ProxyServer
		config string
	}{
		{NginxServer, `
  server { listen {{.HTTP}}; return 301 https://{{.HTTPS}}$request_uri; }
  server {
    listen {{.HTTPS}} ssl;
    ssl_certificate {{.CertDir}}/public.crt;
    ssl_certificate_key {{.CertDir}}/private.key;
    location / { proxy_pass http://{{.Target}}; }
  }`},
		{HAProxyServer, `
frontend http
  bind {{.HTTP}}
  http-request redirect prefix https://{{.HTTPS}} code 301
frontend https
  bind {{.HTTPS}} ssl crt {{.CertDir}}/both.pem
  default_backend origin
backend origin
  server origin {{.Target}}`},
	} {
		t.Run(c.server.Name, func(t *testing.T) {
			RequirePart(t, c.server.Part)
			proxy, err := ForTest(t).StartProxy(t.Context(), ProxyOptions{
				Name: "proxy", Server: c.server, Config: c.config, Target: strings.TrimPrefix(origin.URL, "http://"),
			})
			require.NoError(t, err)
			roots := x509.NewCertPool()
			require.True(t, roots.AppendCertsFromPEM(proxy.CA))
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
			t.Cleanup(transport.CloseIdleConnections)
			response, err := (&http.Client{Transport: transport}).Get("http://" + proxy.HTTP + "/a")
			require.NoError(t, err)
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.Equal(t, "path /a", string(text))
			require.Equal(t, proxy.HTTPS, response.Request.URL.Host)
		})
	}
}
