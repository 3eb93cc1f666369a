package account

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Trust is whom a location trusts: the system's certificates, those of caCert
// and those of the file that AWS_CA_BUNDLE names.
type Trust struct {
	Pool     *x509.CertPool // shared, not to be changed; nil means the system's
	Rejected []string       // certificates that could not be used, and why
	Version  string         // changes when AWS_CA_BUNDLE or its file does

	// sample is one certificate of the bundle, for the SDK, which insists on
	// adding what AWS_CA_BUNDLE names to a pool that has it already.
	sample []byte
}

// knownTrust keeps what was parsed until the bundle's file changes: to parse a
// whole bundle takes longer than all else that opens a location does.
var knownTrust = struct {
	sync.Mutex
	byCA map[[sha256.Size]byte]Trust
}{byCA: map[[sha256.Size]byte]Trust{}}

// Trust returns whom the location trusts now.
func (s *Settings) Trust() Trust {
	path := os.Getenv("AWS_CA_BUNDLE")
	if s.CACert == "" && path == "" {
		return Trust{}
	}
	key, version := sha256.Sum256([]byte(s.CACert)), versionOf(path)
	knownTrust.Lock()
	defer knownTrust.Unlock()
	t, ok := knownTrust.byCA[key]
	if !ok || t.Version != version {
		t = readTrust(s.CACert, path)
		t.Version = version
		knownTrust.byCA[key] = t
	}
	return t
}

func versionOf(path string) string {
	info, err := os.Stat(path) //nolint:gosec // the SDK's own variable
	if err != nil {
		return path
	}
	return fmt.Sprint(path, info.ModTime().UnixNano(), info.Size())
}

func readTrust(ca, path string) (t Trust) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	own, rejected := certificates("caCert", ca)
	t.Rejected = rejected
	bundle, _ := os.ReadFile(path) //nolint:gosec // the SDK's own variable, and its error
	more, rejected := certificates("AWS_CA_BUNDLE", string(bundle))
	t.Rejected = append(t.Rejected, rejected...)
	for _, c := range append(own, more...) {
		pool.AddCert(c)
		t.Pool = pool
	}
	if len(more) > 0 {
		t.sample = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: more[0].Raw})
	}
	return t
}

// certificates reads the certificates of a bundle. Each block that is none is
// named in rejected, with the reason.
func certificates(bundle, text string) (taken []*x509.Certificate, rejected []string) {
	const begin = "-----BEGIN "
	blocks := strings.Split(text, begin)
	for i, rest := range blocks[1:] {
		c, err := certificate(begin + rest)
		if err != nil {
			rejected = append(rejected, fmt.Sprintf("block %d of %d in %s (%s)", i+1, len(blocks)-1, bundle, s3err.Clean(err.Error(), 200)))
			continue
		}
		taken = append(taken, c)
	}
	return taken, rejected
}

func certificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("it is damaged")
	case block.Type != "CERTIFICATE":
		return nil, fmt.Errorf("it is a %s", block.Type)
	}
	return x509.ParseCertificate(block.Bytes)
}
