package account

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"k8s.io/client-go/rest"
)

// customerKeySize is the size of an SSE-C key, in bytes (AES-256).
const customerKeySize = 32

// secretTimeout bounds reading the key's Secret.
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
		read = func() ([]byte, error) { return readSecret(ctx, s.CustomerKeySecret) }
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

// readSecret reads NAME/KEY from Velero's namespace. One plain request is all it
// takes; a typed client would link every kind of the API.
func readSecret(ctx context.Context, nameAndKey string) ([]byte, error) {
	name, key, _ := strings.Cut(nameAndKey, "/")
	config, err := kube.Config()
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, secretTimeout, s3err.Errorf(s3err.Timeout, "no answer from the Kubernetes API in %v", secretTimeout))
	defer cancel()
	host, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	address := host.JoinPath("api/v1/namespaces", url.PathEscape(kube.Namespace()), "secrets", url.PathEscape(name))
	data, err := secretData(ctx, client, address.String())
	if err != nil {
		return nil, fmt.Errorf("read Secret %s/%s: %w", kube.Namespace(), name, err)
	}
	value, ok := data[key]
	if !ok {
		return nil, fmt.Errorf("no key %[3]q in Secret %[1]s/%[2]s", kube.Namespace(), name, key)
	}
	return value, nil
}

func secretData(ctx context.Context, client *http.Client, address string) (map[string][]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the Kubernetes API answered %s", resp.Status)
	}
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	const limit = 2 << 20 // a Secret holds 1 MiB at most
	err = json.NewDecoder(io.LimitReader(resp.Body, limit)).Decode(&secret)
	return secret.Data, err
}
