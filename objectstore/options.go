package objectstore

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/minio/minio-go/v7/pkg/tags"
)

// checksumAlgorithms are the words of checksumAlgorithm, in capitals. CRC64NVME
// is of the whole object also in a multipart upload, the others of the parts.
var checksumAlgorithms = map[string]minio.ChecksumType{
	"":          minio.ChecksumNone,
	"NONE":      minio.ChecksumNone,
	"AUTO":      minio.ChecksumNone,
	"CRC32":     minio.ChecksumCRC32,
	"CRC32C":    minio.ChecksumCRC32C,
	"SHA1":      minio.ChecksumSHA1,
	"SHA256":    minio.ChecksumSHA256,
	"CRC64NVME": minio.ChecksumCRC64NVME,
}

// checksumFor returns the checksum to send along. Only AWS is known to take it
// everywhere.
func checksumFor(s *Settings, e account.Endpoint) minio.ChecksumType {
	word := strings.ToUpper(s.ChecksumAlgorithm)
	if word == "AUTO" && e.AWS() {
		return minio.ChecksumCRC64NVME
	}
	return checksumAlgorithms[word]
}

// encryption returns the server-side encryption of the settings, nil for none.
func encryption(ctx context.Context, s *Settings, secrets *s3err.Secrets) (encrypt.ServerSide, error) {
	switch {
	case s.HasCustomerKey():
		return s.CustomerKey(ctx, secrets)
	case s.KMSKeyID != "" || strings.HasPrefix(s.ServerSideEncryption, "aws:kms"):
		return newKMS(s)
	case s.ServerSideEncryption != "":
		return encrypt.NewSSE(), nil
	}
	return nil, nil
}

// kms adds to minio-go's headers those it does not know.
type kms struct {
	encrypt.ServerSide
	algorithm string
	bucketKey bool
}

func newKMS(s *Settings) (encrypt.ServerSide, error) {
	var kmsContext any
	if s.KMSContext != "" {
		kmsContext = json.RawMessage(s.KMSContext)
	}
	sse, err := encrypt.NewSSEKMS(s.KMSKeyID, kmsContext)
	algorithm := s.ServerSideEncryption
	if algorithm == "" {
		algorithm = "aws:kms"
	}
	return kms{ServerSide: sse, algorithm: algorithm, bucketKey: s.BucketKey}, err
}

// Marshal implements encrypt.ServerSide.
func (k kms) Marshal(h http.Header) {
	k.ServerSide.Marshal(h)
	h.Set(encrypt.SseGenericHeader, k.algorithm)
	if k.bucketKey {
		h.Set("X-Amz-Server-Side-Encryption-Bucket-Key-Enabled", "true")
	}
}

// multipartOptions are the options of an object, as a multipart upload begins.
func (s *Store) multipartOptions() minio.PutObjectOptions {
	o := s.newOptions()
	if s.checksum != minio.ChecksumNone {
		o.UserMetadata["x-amz-checksum-algorithm"] = s.checksum.String()
	}
	if s.checksum == minio.ChecksumCRC64NVME {
		o.UserMetadata["x-amz-checksum-type"] = minio.ChecksumFullObjectMode.String()
	}
	return o
}

// newOptions are what both ways to store an object share.
func (s *Store) newOptions() minio.PutObjectOptions {
	o := minio.PutObjectOptions{
		ContentType:          "application/octet-stream",
		StorageClass:         s.settings.StorageClass,
		ServerSideEncryption: s.sse,
		UserMetadata:         map[string]string{},
		UserTags:             s.tags,
		DisableContentSha256: true, // means: no aws-chunked framing
	}
	if s.settings.ACL != "" {
		o.UserMetadata["x-amz-acl"] = s.settings.ACL
	}
	if s.settings.ObjectLockMode != "" {
		o.Mode = minio.RetentionMode(s.settings.ObjectLockMode)
		o.RetainUntilDate = time.Now().Add(s.settings.ObjectLockRetention)
	}
	if s.settings.ObjectLockLegalHold {
		o.LegalHold = minio.LegalHoldEnabled
	}
	return o
}

// objectOptions are the options of an object stored with one request.
func (s *Store) objectOptions(body *payload) minio.PutObjectOptions {
	o := s.newOptions()
	o.UserMetadata[crcName] = crcValue(body.data)
	for name, value := range body.sums {
		o.UserMetadata[strings.ToLower(name)] = value
	}
	return o
}

func (s *Store) partOptions(body *payload) minio.PutObjectPartOptions {
	header := http.Header{}
	for name, value := range body.sums {
		header.Set(name, value)
	}
	return minio.PutObjectPartOptions{
		Md5Base64:            s.contentMD5(body),
		Sha256Hex:            body.sha256,
		SSE:                  s.sse,
		CustomHeader:         header,
		DisableContentSha256: true,
	}
}

// completeOptions repeat an SSE-C key, and nothing of other encryptions: S3
// refuses those here.
func (m *multipart) completeOptions() (minio.PutObjectOptions, error) {
	o := minio.PutObjectOptions{}
	if m.settings.HasCustomerKey() {
		o.ServerSideEncryption = m.sse
	}
	if m.checksum != minio.ChecksumCRC64NVME || m.parts[0].ChecksumCRC64NVME == "" {
		return o, nil // not asked for, or the server takes no notice of it
	}
	whole, err := m.checksum.FullObjectChecksum(m.parts)
	if err != nil {
		return o, err
	}
	o.UserMetadata = map[string]string{
		strings.ToLower(m.checksum.Key()): whole.Encoded(),
		"x-amz-checksum-type":             minio.ChecksumFullObjectMode.String(),
	}
	return o, nil
}

func (m *multipart) completeParts() []minio.CompletePart {
	parts := make([]minio.CompletePart, len(m.parts))
	for i, p := range m.parts {
		parts[i] = minio.CompletePart{PartNumber: i + 1, ETag: p.ETag}
		if m.checksum != minio.ChecksumNone {
			parts[i].ChecksumCRC32, parts[i].ChecksumCRC32C = p.ChecksumCRC32, p.ChecksumCRC32C
			parts[i].ChecksumSHA1, parts[i].ChecksumSHA256 = p.ChecksumSHA1, p.ChecksumSHA256
			parts[i].ChecksumCRC64NVME = p.ChecksumCRC64NVME
		}
	}
	return parts
}

// readOptions are the options of reading an object or its metadata.
func (s *Store) readOptions() minio.GetObjectOptions {
	var o minio.GetObjectOptions
	if s.settings.HasCustomerKey() {
		o.ServerSideEncryption = s.sse
	}
	if s.checksum != minio.ChecksumNone {
		o.Set("x-amz-checksum-mode", "ENABLED")
	}
	return o
}

// parseTags reads the tags of the settings, which are checked already.
func parseTags(text string) map[string]string {
	parsed, err := tags.Parse(text, true)
	if err != nil || text == "" {
		return nil
	}
	return parsed.ToMap()
}
