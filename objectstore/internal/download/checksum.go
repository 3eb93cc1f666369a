package download

import (
	"crypto/fips140"
	"crypto/md5" //nolint:gosec // S3's ETag
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// check compares what is read with what the storage says the content is. A nil
// check accepts anything.
type check struct {
	what string
	hash hash.Hash
	want []byte
}

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

// checkFor returns the cheapest check that the answer and the settings allow, or
// nil. size is that of the object.
func (s *Settings) checkFor(info minio.ObjectInfo, h http.Header, size int64) (*check, error) {
	value, ownSize, own := client.KeptCRC(info)
	byETag := etagCheck(info, h)
	if own && ownSize != size {
		// A server may leave the metadata of an object to the one that replaces it.
		if byETag == nil {
			return nil, s3err.Errorf(s3err.Corrupt, "the object was stored with %d bytes, and the storage gives %d", ownSize, size)
		}
		return byETag, nil
	}
	if s.VerifyDownloads == "never" {
		return nil, nil
	}
	if c := newCheck(minio.ChecksumCRC32C, value); c != nil {
		return c, nil
	}
	for _, algorithm := range stored {
		value, _, ofParts := strings.Cut(info.Checksum(algorithm), "-")
		if c := newCheck(algorithm, value); c != nil && !ofParts && info.ChecksumMode != "COMPOSITE" {
			return c, nil
		}
	}
	if s.VerifyDownloads == "always" || size <= cheapMD5 {
		return byETag, nil
	}
	return nil, nil
}

// newCheck returns the check for a checksum of a whole object, nil for none.
func newCheck(algorithm minio.ChecksumType, value string) *check {
	want, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(want) != algorithm.RawByteLen() {
		return nil
	}
	return &check{what: algorithm.String(), hash: algorithm.Hasher(), want: want}
}

// etagCheck returns the check against an ETag that is an MD5 of the content, nil
// for any other.
func etagCheck(info minio.ObjectInfo, h http.Header) *check {
	want, err := hex.DecodeString(info.ETag)
	if err != nil || len(want) != md5.Size || !plainETag(h) || fips140.Enabled() { // MD5 panics with fips140=only
		return nil
	}
	return &check{what: etagMD5, hash: md5.New(), want: want} //nolint:gosec // see above
}

// plainETag tells whether an ETag that looks like an MD5 is that of the content:
// with a customer's or a KMS key it is not.
func plainETag(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption") && h.Get(name) != "AES256" {
			return false
		}
	}
	return h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") == ""
}

func (c *check) write(p []byte) {
	if c != nil {
		_, _ = c.hash.Write(p) // it never fails
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
		return s3err.Errorf(s3err.Corrupt, "the content has the MD5 %x, and the ETag says %x (if this storage's ETags are no MD5, set verifyDownloads: never)", got, c.want)
	default:
		return s3err.Errorf(s3err.Corrupt, "the content has the %s %x, and %x was stored", c.what, got, c.want)
	}
}
