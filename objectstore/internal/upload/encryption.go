package upload

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/minio/minio-go/v7/pkg/encrypt"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// ServerSide returns the server-side encryption of the settings, nil for none.
func (s *Settings) ServerSide(ctx context.Context, a *account.Settings, secrets *s3err.Secrets) (encrypt.ServerSide, error) {
	switch {
	case a.HasCustomerKey():
		return a.CustomerKey(ctx, secrets)
	case s.usesKMS():
		return newKMS(s)
	case s.ServerSideEncryption != "":
		return encrypt.NewSSE(), nil
	}
	return nil, nil
}

// kms adds to minio-go's headers those it does not know.
type kms struct {
	encrypt.ServerSide
	algorithm string
	bucketKey bool
}

func newKMS(s *Settings) (encrypt.ServerSide, error) {
	var kmsContext any
	if s.KMSContext != "" {
		kmsContext = json.RawMessage(s.KMSContext)
	}
	sse, err := encrypt.NewSSEKMS(s.KMSKeyID, kmsContext)
	algorithm := s.ServerSideEncryption
	if algorithm == "" {
		algorithm = "aws:kms"
	}
	return kms{ServerSide: sse, algorithm: algorithm, bucketKey: s.BucketKey}, err
}

// Marshal implements encrypt.ServerSide.
func (k kms) Marshal(h http.Header) {
	k.ServerSide.Marshal(h)
	h.Set(encrypt.SseGenericHeader, k.algorithm)
	if k.bucketKey {
		h.Set("X-Amz-Server-Side-Encryption-Bucket-Key-Enabled", "true")
	}
}
