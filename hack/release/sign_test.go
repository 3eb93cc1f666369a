package main

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sign signs a release, and looks at what is signed with the key beside it.
func sign(t *testing.T, dist string, given []string) {
	makeIn(t, append(given, "sign")...)
	folder := filepath.Join(dist, "rehearsal")
	key := publicKeyIn(t, folder)
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	require.NoError(t, err)
	signed, err := os.ReadFile(filepath.Join(folder, "SHA256SUMS.sig"))
	require.NoError(t, err)
	require.True(t, verified(t, key, sums, string(signed)))
	require.False(t, verified(t, key, append(sums, '\n'), string(signed)))

	index, err := os.ReadFile(filepath.Join(dist, "image", "digests"))
	require.NoError(t, err)
	require.Regexp(t, "^index=sha256:[0-9a-f]{64}\namd64=sha256:[0-9a-f]{64}\narm64=sha256:[0-9a-f]{64}\n$", string(index))
	provenance := stated(t, folder, key, "provenance")
	require.Len(t, provenance.Subject, 1+5, "the image and the files")
	require.Contains(t, string(index), "index=sha256:"+provenance.Subject[0].Digest["sha256"])
	for _, p := range images {
		bill := stated(t, folder, key, "sbom_"+p.arch)
		require.Len(t, bill.Subject, 1)
		require.Contains(t, string(index), p.arch+"=sha256:"+bill.Subject[0].Digest["sha256"])
		require.Equal(t, "CycloneDX", bill.Predicate.(map[string]any)["bomFormat"])
	}
}

func publicKeyIn(t *testing.T, folder string) *ecdsa.PublicKey {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, "key.pub"))
	require.NoError(t, err)
	block, rest := pem.Decode(content)
	require.NotNil(t, block)
	require.Empty(t, rest)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	return key.(*ecdsa.PublicKey)
}

func verified(t *testing.T, key *ecdsa.PublicKey, content []byte, signed string) bool {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(signed)
	require.NoError(t, err)
	hash := sha256.Sum256(content)
	return ecdsa.VerifyASN1(key, hash[:], raw)
}

// stated opens an envelope.
func stated(t *testing.T, folder string, key *ecdsa.PublicKey, what string) statement {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, what+".dsse.json"))
	require.NoError(t, err)
	var e dsse
	require.NoError(t, json.Unmarshal(content, &e))
	require.Len(t, e.Signatures, 1)
	require.True(t, verified(t, key, signable(e.PayloadType, e.Payload), e.Signatures[0]["sig"]))
	var s statement
	require.NoError(t, json.Unmarshal(e.Payload, &s))
	return s
}
