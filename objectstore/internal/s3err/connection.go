package s3err

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
)

// wireKind classifies what kept a request from being answered.
func wireKind(err error) Kind {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case isTrust(err):
		return Trust
	case isTLS(err):
		return TLS
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNREFUSED), isNetwork(err):
		return Unreachable
	}
	return Unknown
}

func isTrust(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host)
}

// isTLS tells whether the two sides found no TLS in common. crypto/tls has no
// types for that: the other side's alerts come as a net.OpError, and a server
// that chooses a version which was not offered as a mere text.
func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var op *net.OpError
	return errors.As(err, &record) || errors.As(err, &op) && op.Op == "remote error" || strings.Contains(err.Error(), oldVersion)
}

const oldVersion = "tls: server selected unsupported protocol version"

func isNetwork(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) || errors.As(err, &dns)
}

// tlsHint says what to do where TLS did not come about.
func tlsHint(err error) string {
	text := err.Error()
	says := func(alert string) bool { return strings.Contains(text, alert) }
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return "the storage may not speak TLS on this port; check the scheme and port of s3Url"
	case says("protocol version not supported"), says(oldVersion):
		return "the storage or a proxy before it speaks nothing newer than TLS 1.1; switch on TLS 1.2 or 1.3 there"
	case says("certificate required"), says("bad certificate"):
		return noClientCertificate
	case says("handshake failure"):
		return "the storage or a proxy before it has no cipher suite that is still accepted (only RSA key exchange, for instance): switch on ECDHE suites or TLS 1.3. Or it wants a client certificate, which this plugin cannot present"
	}
	return "check the TLS settings of the storage and of a proxy before it"
}

const noClientCertificate = "the storage or a proxy before it wants a client certificate, which this plugin cannot present; let it accept requests without one"

// trustHint says what to do about a certificate. It names those of caCert and
// AWS_CA_BUNDLE that could not be used.
func trustHint(err error, untrusted []string) string {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host) && host.Certificate != nil:
		return fmt.Sprintf("the certificate is for %s; use such a host in s3Url, or make the certificate valid for this one", names(host.Certificate))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return expiredHint(invalid.Cert)
	case len(untrusted) > 0:
		return "these certificates could not be used: " + strings.Join(untrusted, ", ") + "; put the certificate of the CA into spec.objectStorage.caCert"
	}
	return "put the certificate of the CA into spec.objectStorage.caCert, or make the certificate valid for this host"
}

func names(c *x509.Certificate) string {
	all := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no host at all"
	}
	return Clean(strings.Join(all, ", "), messageLimit)
}

func expiredHint(c *x509.Certificate) string {
	if time.Now().Before(c.NotBefore) {
		return fmt.Sprintf("the certificate holds from %s on; set the clock of the node that runs Velero, or wait", c.NotBefore.Format(time.RFC3339))
	}
	return fmt.Sprintf("the certificate of %s ended on %s; renew it at the storage", names(c), c.NotAfter.Format(time.RFC3339))
}
