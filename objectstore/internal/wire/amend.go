package wire

import (
	"context"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// How S3 is told what a body is signed by.
const (
	EmptySHA256     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	SHA256Header    = "X-Amz-Content-Sha256"
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

type bareETagKey struct{}

// WithBareETag has the ETag in If-Match sent without its quotes, as some servers
// compare it (Ceph's radosgw 16 with that of a PUT).
func WithBareETag(ctx context.Context) context.Context {
	return context.WithValue(ctx, bareETagKey{}, true)
}

// amend changes requests where minio-go offers no way to: headers that belong
// on every request, an ETag without quotes, and the hash of the empty body that it
// leaves unsigned. It then signs again.
type amend struct {
	next    http.RoundTripper
	creds   *credentials.Credentials
	region  string
	headers map[string]string // of every request
	bodies  bool              // whether bodies are signed at all
}

// RoundTrip implements http.RoundTripper.
func (t amend) RoundTrip(req *http.Request) (*http.Response, error) {
	unsignedEmpty := t.bodies && req.Body == nil && req.Header.Get(SHA256Header) == unsignedPayload
	bareETag := req.Context().Value(bareETagKey{}) != nil && req.Header.Get("If-Match") != ""
	if len(t.headers) == 0 && !unsignedEmpty && !bareETag {
		return t.next.RoundTrip(req)
	}
	amended := req.Clone(req.Context())
	for name, value := range t.headers {
		amended.Header.Set(name, value)
	}
	if bareETag {
		amended.Header.Set("If-Match", strings.Trim(amended.Header.Get("If-Match"), `"`))
	}
	if unsignedEmpty {
		amended.Header.Set(SHA256Header, EmptySHA256)
	}
	if !strings.HasPrefix(amended.Header.Get("Authorization"), "AWS4-HMAC-SHA256") {
		return t.next.RoundTrip(amended)
	}
	value, err := t.creds.GetWithContext(&credentials.CredContext{Context: req.Context()})
	if err != nil {
		return nil, err
	}
	signed := signer.SignV4(*amended, value.AccessKeyID, value.SecretAccessKey, value.SessionToken, t.region)
	return t.next.RoundTrip(signed)
}
