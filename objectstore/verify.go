package objectstore

import (
	"crypto/md5" //nolint:gosec // S3's ETag
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
)

// check compares what is read with what the storage says the content is. A nil
// check accepts anything.
type check struct {
	what string
	hash hash.Hash
	want []byte
}

// checkFor returns the cheapest check that the answer allows, or nil.
func (s *Store) checkFor(info minio.ObjectInfo, h http.Header) *check {
	if !s.settings.VerifyDownloads {
		return nil
	}
	for _, algorithm := range []minio.ChecksumType{minio.ChecksumCRC64NVME, minio.ChecksumCRC32C, minio.ChecksumCRC32, minio.ChecksumSHA256, minio.ChecksumSHA1} {
		value := info.Checksum(algorithm)
		if value == "" || strings.Contains(value, "-") || info.ChecksumMode == "COMPOSITE" {
			continue
		}
		if want, err := base64.StdEncoding.DecodeString(value); err == nil {
			return &check{what: algorithm.String(), hash: algorithm.Hasher(), want: want}
		}
	}
	if isMD5(info.ETag) && s.plainETag(h) {
		want, _ := hex.DecodeString(info.ETag)
		return &check{what: "MD5", hash: md5.New(), want: want} //nolint:gosec // see above
	}
	return nil
}

// plainETag tells whether an ETag that looks like an MD5 is that of the content:
// with a customer's or a KMS key it is not.
func (s *Store) plainETag(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption") && h.Get(name) != "AES256" {
			return false
		}
	}
	return h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") == ""
}

func (c *check) write(p []byte) {
	if c != nil {
		c.hash.Write(p)
	}
}

func (c *check) name() string {
	if c == nil {
		return "length"
	}
	return c.what
}

func (c *check) verify() error {
	if c == nil {
		return nil
	}
	if got := c.hash.Sum(nil); string(got) != string(c.want) {
		return faultf(KindCorrupt, "the content has the %s %x, and the storage says %x", c.what, got, c.want)
	}
	return nil
}

func trimETag(etag string) string { return strings.Trim(etag, `"`) }
