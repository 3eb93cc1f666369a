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

// crcName is the metadata in which the store keeps the CRC-32C of an object
// that it has written with one request. Every S3 server keeps metadata; few
// keep checksums.
const crcName = "Longshore-Crc32c"

// cheapMD5 is the size, in bytes, up to which computing an MD5 does not show
// beside the time of a request.
const cheapMD5 = 64 << 10

// etagMD5 is the check against an ETag. A storage may give other ETags that look
// like it; the user who knows can turn the check off.
const etagMD5 = "MD5 of the ETag"

// stored are the checksums that S3 keeps, the fastest first.
var stored = []minio.ChecksumType{
	minio.ChecksumCRC64NVME, minio.ChecksumCRC32C, minio.ChecksumCRC32, minio.ChecksumSHA256, minio.ChecksumSHA1,
}

// checkFor returns the cheapest check that the answer and the settings allow,
// or nil.
func (s *Store) checkFor(info minio.ObjectInfo, h http.Header) *check {
	if s.settings.VerifyDownloads == "never" {
		return nil
	}
	if c := newCheck(minio.ChecksumCRC32C, info.UserMetadata[crcName]); c != nil {
		return c
	}
	for _, algorithm := range stored {
		if c := newCheck(algorithm, info.Checksum(algorithm)); c != nil && info.ChecksumMode != "COMPOSITE" {
			return c
		}
	}
	if s.settings.VerifyDownloads == "always" || (info.Size >= 0 && info.Size <= cheapMD5) {
		return s.etagCheck(info, h)
	}
	return nil
}

// newCheck returns the check for a checksum of a whole object, nil for none.
func newCheck(algorithm minio.ChecksumType, value string) *check {
	want, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(want) != algorithm.RawByteLen() {
		return nil
	}
	return &check{what: algorithm.String(), hash: algorithm.Hasher(), want: want}
}

func (s *Store) etagCheck(info minio.ObjectInfo, h http.Header) *check {
	if !isMD5(info.ETag) || !s.plainETag(h) {
		return nil
	}
	want, _ := hex.DecodeString(info.ETag)
	return &check{what: etagMD5, hash: md5.New(), want: want} //nolint:gosec // see above
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
	got := c.hash.Sum(nil)
	switch {
	case string(got) == string(c.want):
		return nil
	case c.what == etagMD5:
		return faultf(KindCorrupt, "the content has the MD5 %x, and the ETag says %x (if this storage's ETags are no MD5, set verifyDownloads: never)", got, c.want)
	default:
		return faultf(KindCorrupt, "the content has the %s %x, and %x was stored", c.what, got, c.want)
	}
}

func trimETag(etag string) string { return strings.Trim(etag, `"`) }
