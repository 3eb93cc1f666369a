package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// sign rehearses what the release workflow does as itself: it signs the checksums,
// and attests the provenance and the bills of materials. Its key is made for the
// call and kept nowhere, so a signature proves nothing but that the steps work.
func (b *builder) sign() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(b.out, "SHA256SUMS"))
	if err != nil {
		return fmt.Errorf("nothing is released yet: make release: %w", err)
	}
	statements, err := b.statements(sums)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for what, said := range statements {
		if files[what+".dsse.json"], err = envelope(key, said); err != nil {
			return err
		}
	}
	if files["SHA256SUMS.sig"], err = signature(key, sums); err != nil {
		return err
	}
	if files["key.pub"], err = publicKey(key); err != nil {
		return err
	}
	folder := filepath.Join(b.out, "rehearsal")
	for file, content := range files {
		if err := write(filepath.Join(folder, file), content, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.progress, "%d signatures by a key that nobody has any more are in %s\n", len(files)-1, folder)
	return nil
}

// signature is the ECDSA signature of the SHA-256 of content, as base64: the form of
// cosign sign-blob --key.
func signature(key *ecdsa.PrivateKey, content []byte) ([]byte, error) {
	hash := sha256.Sum256(content)
	raw, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
	return base64.StdEncoding.AppendEncode(nil, raw), err
}

// signable is what is signed of a DSSE envelope: its pre-authentication encoding,
// https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
func signable(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

const statementType = "application/vnd.in-toto+json"

// dsse is an envelope with one signature.
type dsse struct {
	PayloadType string              `json:"payloadType"`
	Payload     []byte              `json:"payload"`
	Signatures  []map[string]string `json:"signatures"`
}

func envelope(key *ecdsa.PrivateKey, said statement) ([]byte, error) {
	payload, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	signed, err := signature(key, signable(statementType, payload))
	if err != nil {
		return nil, err
	}
	return json.Marshal(dsse{statementType, payload, []map[string]string{{"sig": string(signed)}}})
}

func publicKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = pem.Encode(&out, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return out.Bytes(), err
}
