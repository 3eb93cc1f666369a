package wire

import (
	"crypto/sha256"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
)

const (
	// DialTimeout bounds how long a connection may take.
	DialTimeout = 10 * time.Second
	// HandshakeTimeout bounds how long TLS on it may take.
	HandshakeTimeout = 10 * time.Second

	idleTimeout = time.Minute
	idlePerHost = 16
	wireBuffer  = 64 << 10
)

// transportKey holds all that makes one transport differ from another.
type transportKey struct {
	caCert     [sha256.Size]byte
	skipVerify bool
	proxy      string
	trust      string // version of AWS_CA_BUNDLE
}

var transports = struct {
	sync.Mutex
	byKey map[transportKey]*http.Transport
}{byKey: map[transportKey]*http.Transport{}}

// latest sends each request over the transport for the settings as it is then:
// the file that AWS_CA_BUNDLE names may change while a location is open.
type latest struct{ settings *account.Settings }

// RoundTrip implements http.RoundTripper.
func (l latest) RoundTrip(req *http.Request) (*http.Response, error) {
	return transportFor(l.settings).RoundTrip(req)
}

// transportFor returns the transport for the settings. Velero opens a location
// again and again; equal settings share one transport, and so its connections.
func transportFor(s *account.Settings) *http.Transport {
	key := transportKey{sha256.Sum256([]byte(s.CACert)), s.InsecureSkipTLSVerify, s.ProxyURL.Reveal(), s.Trust().Version}
	transports.Lock()
	defer transports.Unlock()
	t, ok := transports.byKey[key]
	if !ok {
		t = newTransport(s)
		transports.byKey[key] = t
	}
	return t
}

// newTransport speaks HTTP/1.1 only: with it, parts in flight do not share one
// connection and its flow control.
func newTransport(s *account.Settings) *http.Transport {
	return &http.Transport{
		Proxy:               s.Proxy(),
		DialContext:         (&net.Dialer{Timeout: DialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: HandshakeTimeout,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            s.Trust().Pool,
			InsecureSkipVerify: s.InsecureSkipTLSVerify, //nolint:gosec // the user's explicit choice
		},
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: idlePerHost,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
		WriteBufferSize:     wireBuffer,
		ReadBufferSize:      wireBuffer,

		MaxResponseHeaderBytes: HeaderLimit,
	}
}
