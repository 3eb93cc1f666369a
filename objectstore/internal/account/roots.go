package account

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"sync"
)

// Trust is the certificates that a location trusts beside the system's. To
// parse a whole bundle takes longer than all else that opens a location does, so
// they are kept until the bundle's file changes.
type Trust struct {
	bundle fileStamp
	Pool   *x509.CertPool // nil means the system's
	// sample is one certificate of the bundle, for the SDK, which insists on
	// adding what AWS_CA_BUNDLE names to a pool that has it already.
	sample []byte
}

var knownRoots = struct {
	sync.Mutex
	byCA map[[sha256.Size]byte]Trust
}{byCA: map[[sha256.Size]byte]Trust{}}

// Roots returns the system's certificates with those of ca and of the file
// that AWS_CA_BUNDLE names. The pool is the caller's own.
func Roots(ca string) Trust {
	path := os.Getenv("AWS_CA_BUNDLE")
	if ca == "" && path == "" {
		return Trust{}
	}
	key, stamp := sha256.Sum256([]byte(ca)), fileStamp(path)+stampOf([]string{path})
	knownRoots.Lock()
	defer knownRoots.Unlock()
	r, ok := knownRoots.byCA[key]
	if !ok || r.bundle != stamp {
		r = readRoots(ca, path)
		r.bundle = stamp
		knownRoots.byCA[key] = r
	}
	if r.Pool != nil {
		r.Pool = r.Pool.Clone()
	}
	return r
}

func readRoots(ca, path string) Trust {
	bundle, _ := os.ReadFile(path) //nolint:gosec // the SDK's own variable, and its error
	if ca == "" && len(bundle) == 0 {
		return Trust{}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM([]byte(ca))
	return Trust{Pool: pool, sample: sampleOf(bundle, pool.AppendCertsFromPEM(bundle))}
}

// sampleOf returns the first certificate of a bundle that has been parsed.
func sampleOf(bundle []byte, parsed bool) []byte {
	if !parsed {
		return nil
	}
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil
		}
		one := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
		if block.Type == "CERTIFICATE" && x509.NewCertPool().AppendCertsFromPEM(one) {
			return one
		}
	}
}
