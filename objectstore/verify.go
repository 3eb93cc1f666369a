package objectstore

import (
	"crypto/md5" //nolint:gosec // S3's ETag
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
)

// check compares what is read with what the storage says the content is. A nil
// check accepts anything.
type check struct {
	what string
	hash summer
	want []byte
}

// summer is the part of hash.Hash that a check uses.
type summer interface {
	io.Writer
	Sum(prefix []byte) []byte
}

// crcName is the metadata in which the store keeps the CRC-32C of an object
// that it has written with one request, and its size. Every S3 server keeps
// metadata; few keep checksums.
const crcName = "Longshore-Crc32c"

// crcValue binds the checksum to the size: there are servers that leave the
// metadata of an object to the one that replaces it.
func crcValue(data []byte) string {
	return fmt.Sprintf("%s:%d", minio.ChecksumCRC32C.EncodeToString(data), len(data))
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
func (s *Store) checkFor(info minio.ObjectInfo, h http.Header, size int64) (*check, error) {
	value, ownSize, own := ownCRC(info)
	byETag := s.etagCheck(info, h)
	if own && ownSize != size {
		// A server may leave the metadata of an object to the one that replaces it.
		if byETag == nil {
			return nil, faultf(KindCorrupt, "the object was stored with %d bytes, and the storage gives %d", ownSize, size)
		}
		return byETag, nil
	}
	if s.settings.VerifyDownloads == "never" {
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
	if s.settings.VerifyDownloads == "always" || size <= cheapMD5 {
		return byETag, nil
	}
	return nil, nil
}

// ownCRC returns the checksum and the size that the store has kept with an object
// written with one request.
func ownCRC(info minio.ObjectInfo) (value string, size int64, ok bool) {
	value, text, _ := strings.Cut(info.UserMetadata[crcName], ":")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 || isOfParts(info.ETag) {
		return "", -1, false
	}
	return value, size, true
}

// newCheck returns the check for a checksum of a whole object, nil for none.
func newCheck(algorithm minio.ChecksumType, value string) *check {
	want, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(want) != algorithm.RawByteLen() {
		return nil
	}
	return &check{what: algorithm.String(), hash: algorithm.Hasher(), want: want}
}

var ofParts = regexp.MustCompile(`-[0-9]+$`)

// isOfParts tells whether an ETag has the form that S3 gives to an object of a
// multipart upload.
func isOfParts(etag string) bool { return ofParts.MatchString(etag) }

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
		return faultf(KindCorrupt, "the content has the MD5 %x, and the ETag says %x (if this storage's ETags are no MD5, set verifyDownloads: never)", got, c.want)
	default:
		return faultf(KindCorrupt, "the content has the %s %x, and %x was stored", c.what, got, c.want)
	}
}

func trimETag(etag string) string { return strings.Trim(etag, `"`) }
