package client

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
)

// Metadata that is kept with an object. Every S3 server keeps metadata; few keep
// checksums. The names have no hyphen: Azure, behind a server that speaks S3, refuses
// an object with one.
const (
	// CRCName has the CRC-32C and the size of an object written with one request.
	CRCName = "Longshorecrc32c"
	// TokenName has the token of the upload that made the object.
	TokenName = "Longshoreupload"

	formerCRCName = "Longshore-Crc32c" // of objects that are already stored
)

// CRC is the value of CRCName. The checksum is bound to the size: there are
// servers that leave the metadata of an object to the one that replaces it.
func CRC(data []byte) string {
	return fmt.Sprintf("%s:%d", minio.ChecksumCRC32C.EncodeToString(data), len(data))
}

// KeptCRC returns the checksum, in base64, and the size that were kept with an
// object; ok is false where there are none.
func KeptCRC(info minio.ObjectInfo) (sum string, size int64, ok bool) {
	sum, text, _ := strings.Cut(cmp.Or(info.UserMetadata[CRCName], info.UserMetadata[formerCRCName]), ":")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 || OfParts(info.ETag) {
		return "", -1, false
	}
	return sum, size, true
}

// OfParts tells whether an ETag has the form that S3 gives to an object of a
// multipart upload: it ends in the number of parts.
func OfParts(etag string) bool {
	_, number, found := strings.Cut(etag, "-")
	n, err := strconv.Atoi(number)
	return found && err == nil && n > 0
}
