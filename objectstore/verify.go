package objectstore

import (
	"crypto/md5" //nolint:gosec // S3's ETag
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
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

// checkFor returns the cheapest check that the answer and the settings allow,
// or nil.
func (s *Store) checkFor(info minio.ObjectInfo, h http.Header) *check {
	if s.settings.VerifyDownloads == "never" {
		return nil
	}
	if c := ownCheck(info); c != nil {
		return c
	}
	parts := partsOf(info)
	for _, algorithm := range stored {
		if c := storedCheck(algorithm, info, parts); c != nil {
			return c
		}
	}
	if s.settings.VerifyDownloads == "always" || (info.Size >= 0 && info.Size <= cheapMD5) {
		return s.etagCheck(info, h, parts)
	}
	return nil
}

// ownCheck is that of an object written with one request.
func ownCheck(info minio.ObjectInfo) *check {
	value, size, _ := strings.Cut(info.UserMetadata[crcName], ":")
	if size != strconv.FormatInt(info.Size, 10) || strings.Contains(info.ETag, "-") {
		return nil
	}
	return newCheck(minio.ChecksumCRC32C, value)
}

// partsOf returns the sizes of the parts that an object was written with, or nil
// where they are not known.
func partsOf(info minio.ObjectInfo) stretches {
	parts := parseStretches(info.UserMetadata[partsName])
	_, count, _ := strings.Cut(info.ETag, "-")
	if count == "" || info.Size < 0 || count != strconv.Itoa(parts.count(info.Size)) {
		return nil
	}
	return parts
}

// storedCheck is the check for a checksum that S3 keeps: of the whole object, or
// of the checksums of its parts.
func storedCheck(algorithm minio.ChecksumType, info minio.ObjectInfo, parts stretches) *check {
	value, _, ofParts := strings.Cut(info.Checksum(algorithm), "-")
	c := newCheck(algorithm, value)
	switch {
	case c == nil:
		return nil
	case !ofParts && info.ChecksumMode != "COMPOSITE":
		return c
	case parts == nil:
		return nil
	}
	c.what += " of the parts"
	c.hash = newComposite(algorithm.Hasher, parts)
	return c
}

// newCheck returns the check for a checksum of a whole object, nil for none.
func newCheck(algorithm minio.ChecksumType, value string) *check {
	want, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(want) != algorithm.RawByteLen() {
		return nil
	}
	return &check{what: algorithm.String(), hash: algorithm.Hasher(), want: want}
}

func (s *Store) etagCheck(info minio.ObjectInfo, h http.Header, parts stretches) *check {
	sum, _, ofParts := strings.Cut(info.ETag, "-")
	if !isMD5(sum) || !s.plainETag(h) || ofParts && parts == nil {
		return nil
	}
	want, _ := hex.DecodeString(sum)
	c := &check{what: etagMD5, hash: md5.New(), want: want} //nolint:gosec // see above
	if ofParts {
		c.hash = newComposite(md5.New, parts)
	}
	return c
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
