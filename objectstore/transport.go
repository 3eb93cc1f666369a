package objectstore

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	idleTimeout      = time.Minute
	idlePerHost      = 16
	wireBuffer       = 64 << 10
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

// transportFor returns the transport for the settings. Velero opens a location
// again and again; equal settings share one transport, and so its connections.
func transportFor(s *Settings) *http.Transport {
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
func newTransport(s *Settings) *http.Transport {
	return &http.Transport{
		Proxy:               s.Proxy(),
		DialContext:         dialing((&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext),
		TLSHandshakeTimeout: handshakeTimeout,
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

		MaxResponseHeaderBytes: headerLimit,
	}
}

// plainErrors turns an error of net/http into one that says more: what is
// closed, and what was waited for.
type plainErrors struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t plainErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, plainWireError(req.Context(), err)
	}
	resp.Body = plainBody{ReadCloser: resp.Body, ctx: req.Context()}
	return resp, nil
}

// plainBody does the same for the errors of reading an answer.
type plainBody struct {
	io.ReadCloser
	ctx context.Context //nolint:containedctx // the request's, which lives as long as its body
}

// Read implements io.Reader.
func (b plainBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, faultf(KindUnreachable, "the connection broke off in the middle of the answer")
	}
	return n, plainWireError(b.ctx, err)
}

func plainWireError(ctx context.Context, err error) error {
	switch {
	case s3err.HasKind(err):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return faultf(KindUnreachable, "the storage closed the connection before it answered")
	case classify(err) == KindUnknown:
		return faultf(KindUnreachable, "%w", err)
	case classify(err) == KindTrust:
		// Bare, a tls.RecordHeaderError is replaced by net/http with a text.
		return faultf(KindTrust, "%w", err)
	case classify(err) == KindTimeout:
		return faultf(KindTimeout, "%w (connecting may take %v, the TLS handshake %v)", err, dialTimeout, handshakeTimeout)
	}
	return err
}
