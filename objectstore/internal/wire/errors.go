package wire

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// netErrors turns an error of net/http into one that says more: what is
// closed, and what was waited for.
type netErrors struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t netErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, explain(req.Context(), err)
	}
	resp.Body = netErrorsBody{ReadCloser: resp.Body, ctx: req.Context()}
	return resp, nil
}

// netErrorsBody does the same for the errors of reading an answer.
type netErrorsBody struct {
	io.ReadCloser
	ctx context.Context //nolint:containedctx // the request's, which lives as long as its body
}

// Read implements io.Reader.
func (b netErrorsBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, s3err.Errorf(s3err.Unreachable, "the connection broke off in the middle of the answer")
	}
	return n, explain(b.ctx, err)
}

// slow is the advice where the storage took longer than the setting allows.
func slow(setting string) string {
	return "look at the storage and at proxies before it; if they only need longer, raise " + setting
}

func explain(ctx context.Context, err error) error {
	switch {
	case s3err.HasKind(err):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return s3err.Errorf(s3err.Unreachable, "the storage closed the connection before it answered")
	case s3err.KindOf(err) == s3err.Unknown:
		return s3err.Errorf(s3err.Unreachable, "%w", err)
	case s3err.KindOf(err) == s3err.TLS:
		// Bare, a tls.RecordHeaderError is replaced by net/http with a text.
		return s3err.Errorf(s3err.TLS, "%w", err)
	case s3err.KindOf(err) == s3err.Timeout:
		return s3err.Hinted(s3err.Timeout, "check s3Url, DNS, network policies and the proxy settings", "%w (connecting may take %v, the TLS handshake %v)", err, DialTimeout, HandshakeTimeout)
	}
	return err
}
