package account

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

// customerKeySize is the size of an SSE-C key, in bytes (AES-256).
const customerKeySize = 32

// secretTimeout bounds reading a Secret.
const secretTimeout = 30 * time.Second

// HasCustomerKey tells whether the location uses SSE-C.
func (s *Settings) HasCustomerKey() bool { return s.CustomerKeyFile != "" || s.CustomerKeySecret != "" }

// CustomerKey is SSE-C with the key that the settings name. It tells secrets
// the key, and what is sent of it.
func (s *Settings) CustomerKey(ctx context.Context, secrets *s3err.Secrets) (encrypt.ServerSide, error) {
	setting, where := "customerKeyEncryptionFile", s.CustomerKeyFile
	read := func() ([]byte, error) { return os.ReadFile(s.CustomerKeyFile) }
	if s.CustomerKeySecret != "" {
		setting, where = "customerKeyEncryptionSecret", s.CustomerKeySecret
		read = func() ([]byte, error) { return SecretValue(ctx, s.CustomerKeySecret) }
	}
	key, err := read()
	if unnamed := (*fs.PathError)(nil); errors.As(err, &unnamed) && !strings.Contains(where, "/") {
		err = unnamed.Err // the name may be the key itself
	}
	if err != nil {
		return nil, s3err.Errorf(s3err.Invalid, "%s: %w", setting, err)
	}
	sse, err := encrypt.NewSSEC(key)
	if err != nil {
		return nil, s3err.Errorf(s3err.Invalid, "%s: %q holds %d bytes, and an SSE-C key has %d", setting, where, len(key), customerKeySize)
	}
	secrets.Add(customerKeyForms(sse)...)
	return sse, nil
}

// customerKeyForms are an SSE-C key and what is sent of it, for a server that
// quotes it.
func customerKeyForms(sse encrypt.ServerSide) []string {
	h := http.Header{}
	sse.Marshal(h)
	sent := h.Get("X-Amz-Server-Side-Encryption-Customer-Key")
	key, _ := base64.StdEncoding.DecodeString(sent)
	return []string{sent, string(key)}
}

// ReadSecret returns the value of a key of a Secret in Velero's namespace.
type ReadSecret func(ctx context.Context, name, key string) ([]byte, error)

type readSecretKey struct{}

// WithSecrets has SecretValue read by read.
func WithSecrets(ctx context.Context, read ReadSecret) context.Context {
	return context.WithValue(ctx, readSecretKey{}, read)
}

// SecretValue reads NAME/KEY, of a Secret in Velero's namespace: as WithSecrets says,
// and otherwise from the cluster that this process belongs to.
func SecretValue(ctx context.Context, nameAndKey string) ([]byte, error) {
	name, key, _ := strings.Cut(nameAndKey, "/")
	ctx, cancel := context.WithTimeoutCause(ctx, secretTimeout, s3err.Errorf(s3err.Timeout, "no answer from the Kubernetes API in %v", secretTimeout))
	defer cancel()
	if read, ok := ctx.Value(readSecretKey{}).(ReadSecret); ok {
		return read(ctx, name, key)
	}
	config, err := kube.Config("", "")
	if err != nil {
		return nil, err
	}
	client, err := kube.New(config, kube.Options{QPS: 5, Burst: 5})
	if err != nil {
		return nil, err
	}
	return client.SecretValue(ctx, kube.Namespace(), name, key)
}
