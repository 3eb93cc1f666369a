package objectstore

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// partsSigned is a proxy's hook that notes which parts, or whole objects, are signed by
// their SHA-256.
type partsSigned struct {
	mu     sync.Mutex
	signed []bool
	// unsigned meets those that carry their checksum alone; nil forwards them.
	unsigned func(w http.ResponseWriter, r *http.Request, forward http.Handler)
	met      int
}

func (p *partsSigned) ServeHTTP(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	if r.Method != http.MethodPut || r.Header.Get("X-Amz-Content-Sha256") == "" || r.ContentLength == 0 {
		forward.ServeHTTP(w, r)
		return
	}
	signed := r.Header.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD"
	p.mu.Lock()
	p.signed = append(p.signed, signed)
	p.mu.Unlock()
	if signed || p.unsigned == nil {
		forward.ServeHTTP(w, r)
		return
	}
	p.met++
	p.unsigned(w, r, forward)
}

// signsParts stores 21 MiB, one part of 5 MiB after the other, and returns which of
// the requests were signed.
func signsParts(t *testing.T, s *server, proxy *faultProxy, hook *partsSigned, config map[string]string) []bool {
	proxy.on(hook.ServeHTTP)
	bucket := s.bucket(t)
	all := map[string]string{"partSize": "5MiB", "uploadConcurrency": "1", "checksumAlgorithm": "CRC32C"}
	maps.Copy(all, config)
	store := s.open(t, bucket, all)
	data := content(21<<20, 1)
	mustPut(t, store, bucket, "key", data)
	require.True(t, bytes.Equal(data, readAll(t.Context(), t, store, bucket, "key")))
	return hook.signed
}

// TestPartsByChecksum wants the parts behind the first to go over https without a
// SHA-256, to a storage that verifies the checksum, and only there.
func TestPartsByChecksum(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer, testbed.SeaweedFSServer} {
		real := start(t, testbed.S3Options{Server: kind})
		for _, algorithm := range []string{"CRC32", "CRC32C", "CRC64NVME"} {
			t.Run(kind.Name+" "+algorithm, func(t *testing.T) {
				t.Parallel()
				behind, proxy := behindTLSProxy(t, real)
				signed := signsParts(t, behind, proxy, &partsSigned{}, map[string]string{"checksumAlgorithm": algorithm})
				require.Equal(t, []bool{true, false, false, false, false}, signed)
			})
		}
		t.Run(kind.Name+" damaged on the way", func(t *testing.T) {
			t.Parallel()
			behind, proxy := behindTLSProxy(t, real)
			hook := &partsSigned{}
			var refused int
			hook.unsigned = damageFirst(t, hook, &refused)
			signed := signsParts(t, behind, proxy, hook, nil)
			require.Equal(t, http.StatusBadRequest, refused, "the storage takes a damaged part")
			require.Equal(t, []bool{true, false, false, false, false, false}, signed)
		})
	}
}

// TestObjectsByChecksum wants objects of one request behind the first to go over https
// without a SHA-256, to a storage that verifies the checksum, and only there.
func TestObjectsByChecksum(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer, testbed.SeaweedFSServer} {
		real := start(t, testbed.S3Options{Server: kind})
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			behind, proxy := behindTLSProxy(t, real)
			require.Equal(t, []bool{true, false, false}, signsObjects(t, behind, proxy, &partsSigned{}))
		})
		t.Run(kind.Name+" damaged on the way", func(t *testing.T) {
			t.Parallel()
			behind, proxy := behindTLSProxy(t, real)
			hook := &partsSigned{}
			var refused int
			hook.unsigned = damageFirst(t, hook, &refused)
			require.Equal(t, []bool{true, false, false, false}, signsObjects(t, behind, proxy, hook))
			require.Equal(t, http.StatusBadRequest, refused, "the storage takes a damaged object")
		})
	}
	real := startVersity(t)
	t.Run("over http", func(t *testing.T) {
		behind, proxy := behindProxy(t, real)
		require.Equal(t, []bool{true, true, true}, signsObjects(t, behind, proxy, &partsSigned{}))
	})
	for name, unsigned := range unproven() {
		t.Run(name, func(t *testing.T) {
			behind, proxy := behindTLSProxy(t, real)
			hook := &partsSigned{unsigned: unsigned}
			require.Equal(t, []bool{true, false, true, true}, signsObjects(t, behind, proxy, hook))
			require.Equal(t, 1, hook.met)
		})
	}
}

// signsObjects stores three objects of one request each, and returns which of the
// requests were signed.
func signsObjects(t *testing.T, s *server, proxy *faultProxy, hook *partsSigned) []bool {
	bucket := s.bucket(t)
	store := s.open(t, bucket, map[string]string{"checksumAlgorithm": "CRC32C"})
	proxy.on(hook.ServeHTTP)
	for i, key := range []string{"one", "two", "three"} {
		data := content(100_000, uint64(i))
		mustPut(t, store, bucket, key, data)
		require.True(t, bytes.Equal(data, readAll(t.Context(), t, store, bucket, key)))
	}
	return hook.signed
}

// damageFirst changes the first body that is not signed, and loses the storage's answer
// to it, of which it keeps the status.
func damageFirst(t *testing.T, hook *partsSigned, status *int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if hook.met > 1 {
			forward.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		r.Body = io.NopCloser(flipped(t, r.Body))
		forward.ServeHTTP(answer, r)
		*status = answer.Code
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// flipped is the body with one bit changed.
func flipped(t *testing.T, body io.Reader) io.Reader {
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	return bytes.NewReader(data)
}

// TestPartsSigned wants the SHA-256 wherever a checksum alone would not do.
func TestPartsSigned(t *testing.T) {
	real := startVersity(t)
	always := []bool{true, true, true, true, true}
	t.Run("over http", func(t *testing.T) {
		behind, proxy := behindProxy(t, real)
		require.Equal(t, always, signsParts(t, behind, proxy, &partsSigned{}, nil))
	})
	for name, config := range map[string]map[string]string{
		"asked for":                {"payloadSigning": "sha256"},
		"no checksum":              {"checksumAlgorithm": "none"},
		"certificate not verified": {"insecureSkipTLSVerify": "true", "caCert": ""},
	} {
		t.Run(name, func(t *testing.T) {
			behind, proxy := behindTLSProxy(t, real)
			require.Equal(t, always, signsParts(t, behind, proxy, &partsSigned{}, config))
		})
	}
	for name, unsigned := range unproven() {
		t.Run(name, func(t *testing.T) {
			behind, proxy := behindTLSProxy(t, real)
			hook := &partsSigned{unsigned: unsigned}
			require.Equal(t, []bool{true, false, true, true, true, true}, signsParts(t, behind, proxy, hook, nil))
			require.Equal(t, 1, hook.met)
		})
	}
}

// unproven are the ways in which a body without a SHA-256 may not be proven.
func unproven() map[string]func(http.ResponseWriter, *http.Request, http.Handler) {
	return map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"refused by a policy": answer(http.StatusForbidden, "AccessDenied"),
		"no proof":            withoutChecksum,
	}
}

// withoutChecksum takes the checksum out of the answer.
func withoutChecksum(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	answer := httptest.NewRecorder()
	forward.ServeHTTP(answer, r)
	w.Header().Set("ETag", answer.Header().Get("ETag"))
	w.WriteHeader(answer.Code)
}
