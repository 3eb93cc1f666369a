package main

import (
	"bytes"
	"encoding/pem"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// caRoots are the certificate authorities that Mozilla trusts, as the Go project
// publishes them. Those that are trusted under a condition are left out: a file
// of certificates cannot hold conditions.
//
// The plugin does not need them where Velero runs it, since that is Velero's
// image. They serve people who run the image by itself, for a check.
func caRoots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return out.Bytes()
}
