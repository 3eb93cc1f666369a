package upload

import (
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/tags"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
)

// newOptions are what both ways to store an object share.
func (u *upload) newOptions() minio.PutObjectOptions {
	o := minio.PutObjectOptions{
		ContentType:          "application/octet-stream",
		StorageClass:         u.settings.StorageClass,
		ServerSideEncryption: u.sse,
		UserMetadata:         map[string]string{client.TokenName: u.token},
		UserTags:             u.tags,
		DisableContentSha256: true, // means: no aws-chunked framing
	}
	if u.settings.ACL != "" {
		o.UserMetadata["x-amz-acl"] = u.settings.ACL
	}
	if u.settings.ObjectLockMode != "" {
		o.Mode = minio.RetentionMode(u.settings.ObjectLockMode)
		o.RetainUntilDate = time.Now().Add(u.settings.ObjectLockRetention)
	}
	if u.settings.ObjectLockLegalHold {
		o.LegalHold = minio.LegalHoldEnabled
	}
	return o
}

// objectOptions are the options of an object stored with one request.
func (u *upload) objectOptions(c *content) minio.PutObjectOptions {
	o := u.newOptions()
	o.UserMetadata[client.CRCName] = client.CRC(c.data)
	for name, value := range c.sums {
		o.UserMetadata[strings.ToLower(name)] = value
	}
	u.condition(&o)
	return o
}

// multipartOptions are the options of an object, as a multipart upload begins.
func (u *upload) multipartOptions() minio.PutObjectOptions {
	o := u.newOptions()
	if u.checksum != minio.ChecksumNone {
		o.UserMetadata["x-amz-checksum-algorithm"] = u.checksum.String()
	}
	if u.checksum == minio.ChecksumCRC64NVME {
		o.UserMetadata["x-amz-checksum-type"] = minio.ChecksumFullObjectMode.String()
	}
	return o
}

func (u *upload) partOptions(c *content) minio.PutObjectPartOptions {
	header := http.Header{}
	for name, value := range c.sums {
		header.Set(name, value)
	}
	return minio.PutObjectPartOptions{
		Md5Base64:            u.contentMD5(c),
		Sha256Hex:            c.sha256,
		SSE:                  u.sse,
		CustomHeader:         header,
		DisableContentSha256: true,
	}
}

// completeOptions repeat an SSE-C key, and nothing of other encryptions: S3
// refuses those here.
func (m *multipart) completeOptions() (minio.PutObjectOptions, error) {
	o := minio.PutObjectOptions{}
	if m.client.Account.HasCustomerKey() {
		o.ServerSideEncryption = m.sse
	}
	m.condition(&o)
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

// parseTags reads the tags of the settings, which are checked already.
func parseTags(text string) map[string]string {
	parsed, err := tags.Parse(text, true)
	if err != nil || text == "" {
		return nil
	}
	return parsed.ToMap()
}
