package objectstore

import (
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
)

const (
	emptySHA256     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	payloadHeader   = "X-Amz-Content-Sha256"
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

// resign amends requests where minio-go offers no way to: headers that belong
// on every request, and the hash of the empty body that it leaves unsigned. It
// then signs anew.
type resign struct {
	next   http.RoundTripper
	creds  *credentials.Credentials
	region string
	always map[string]string // headers of every request
	bodies bool              // whether bodies are signed at all
}

// RoundTrip implements http.RoundTripper.
func (t resign) RoundTrip(req *http.Request) (*http.Response, error) {
	unsignedEmpty := t.bodies && req.Body == nil && req.Header.Get(payloadHeader) == unsignedPayload
	if len(t.always) == 0 && !unsignedEmpty {
		return t.next.RoundTrip(req)
	}
	amended := req.Clone(req.Context())
	for name, value := range t.always {
		amended.Header.Set(name, value)
	}
	if unsignedEmpty {
		amended.Header.Set(payloadHeader, emptySHA256)
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
