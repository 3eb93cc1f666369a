package upload

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/tags"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
)

// Settings are the keys of a location's config that are about what is written.
type Settings struct {
	KMSKeyID             string         `key:"kmsKeyId" help:"KMS key for server-side encryption; implies serverSideEncryption: aws:kms."`
	ServerSideEncryption string         `key:"serverSideEncryption" oneof:"AES256,aws:kms,aws:kms:dsse" help:"Server-side encryption of what is written."`
	Tagging              string         `key:"tagging" help:"Tags of what is written, as key1=value1&key2=value2."`
	ChecksumAlgorithm    string         `key:"checksumAlgorithm" help:"Additional checksum that the server verifies and keeps: none, CRC32, CRC32C, SHA1, SHA256, CRC64NVME, or auto: CRC64NVME on AWS, none elsewhere, since many servers refuse the headers. An empty value means none."`
	StorageClass         string         `key:"storageClass" help:"Storage class of what is written, such as STANDARD_IA. A class that needs a restore before reading is not accepted."`
	ACL                  string         `key:"acl" oneof:"private,bucket-owner-read,bucket-owner-full-control,authenticated-read,aws-exec-read,public-read,public-read-write" help:"Canned ACL of what is written."`
	ObjectLockMode       string         `key:"objectLockMode" oneof:"GOVERNANCE,COMPLIANCE" help:"Object lock of what is written. The bucket must have object lock, and is then versioned. With deleteVersions the retention must be shorter than the backups' TTL, or Velero cannot delete them."`
	ObjectLockRetention  time.Duration  `key:"objectLockRetention" help:"How long after the upload an object stays locked."`
	ObjectLockLegalHold  bool           `key:"objectLockLegalHold" help:"Put a legal hold on what is written. It has no end, and neither Velero nor the plugin ever removes it."`
	KMSContext           string         `key:"kmsContext" help:"KMS encryption context, as a JSON object with string values."`
	BucketKey            bool           `key:"bucketKey" help:"Use an S3 bucket key with aws:kms, which saves KMS requests."`
	ContentMD5           bool           `key:"contentMD5" help:"Send Content-MD5 with every upload. It is sent without this where the server asks for it or an object lock needs it. Not possible with Go's FIPS 140 mode."`
	PayloadSigning       string         `key:"payloadSigning" oneof:"auto,sha256,unsigned" help:"sha256: the server verifies each body by its signed SHA-256. auto: so does it here, but a storage that has shown over https that it verifies checksumAlgorithm gets the later bodies with that checksum alone, which takes less time. unsigned: only for storages that cannot, and only with https."`
	PartSize             settings.Bytes `key:"partSize" help:"Size of every part of a multipart upload, from 5MiB to 5GiB; the object may have 10000 parts. Without it: 5MiB, growing with the object up to 5TiB; equal parts of 16MiB on Cloudflare R2."`
	UploadConcurrency    int            `key:"uploadConcurrency" help:"Parts of one object uploaded at a time, at most."`
	UploadMemoryLimit    settings.Bytes `key:"uploadMemoryLimit" help:"Memory for parts under way, over all uploads; uploads wait for it. Only a part that is larger than the limit is held all the same, and then alone."`
}

// Default returns the settings that hold where a location says nothing.
func Default() Settings {
	return Settings{ChecksumAlgorithm: "auto", PayloadSigning: "auto", UploadConcurrency: 8, UploadMemoryLimit: 35 * settings.MiB}
}

const (
	// MinPartSize and maxPartSize are S3's bounds.
	MinPartSize = 5 * settings.MiB
	maxPartSize = 5 * settings.GiB
)

// SignsBodies tells whether bodies are signed.
func (s *Settings) SignsBodies() bool { return s.PayloadSigning != "unsigned" }

// Locks tells whether what is written is locked.
func (s *Settings) Locks() bool { return s.ObjectLockMode != "" || s.ObjectLockLegalHold }

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

// Checksum returns the checksum to send along. Only AWS is known to take it
// everywhere.
func (s *Settings) Checksum(e account.Endpoint) minio.ChecksumType {
	word := strings.ToUpper(s.ChecksumAlgorithm)
	if word == "AUTO" && e.AWS() {
		return minio.ChecksumCRC64NVME
	}
	return checksumAlgorithms[word]
}

// Validate adds what is wrong to p.
func (s *Settings) Validate(p *settings.Problems, a *account.Settings) {
	s.validateEncryption(p, a)
	s.validateLock(p)
	s.validateLimits(p)
	if _, err := tags.Parse(s.Tagging, true); s.Tagging != "" && err != nil {
		p.Add("tagging", s.Tagging, "at most 10 tags as key1=value1&key2=value2, URL-encoded: "+strings.TrimSuffix(strings.ToLower(err.Error()[:1])+err.Error()[1:], "."))
	}
	if _, ok := checksumAlgorithms[strings.ToUpper(s.ChecksumAlgorithm)]; !ok {
		p.Add("checksumAlgorithm", s.ChecksumAlgorithm, "none, auto, CRC32, CRC32C, SHA1, SHA256 or CRC64NVME")
	}
	switch strings.ToUpper(s.StorageClass) {
	case "GLACIER", "DEEP_ARCHIVE":
		p.Add("storageClass", s.StorageClass, "a class that can be read at once, such as STANDARD_IA or GLACIER_IR")
	}
}

func (s *Settings) usesKMS() bool {
	return s.KMSKeyID != "" || strings.HasPrefix(s.ServerSideEncryption, "aws:kms")
}

func (s *Settings) validateEncryption(p *settings.Problems, a *account.Settings) {
	if s.KMSKeyID != "" && s.ServerSideEncryption == "AES256" {
		p.Addf("kmsKeyId: contradicts serverSideEncryption: AES256; set aws:kms or remove one of them")
	}
	if a.HasCustomerKey() && (s.usesKMS() || s.ServerSideEncryption != "") {
		p.Addf("customerKeyEncryptionFile or customerKeyEncryptionSecret: cannot be used together with another encryption (serverSideEncryption, kmsKeyId)")
	}
	p.Needs(s.KMSContext != "", s.usesKMS(), "kmsContext", "kmsKeyId or serverSideEncryption: aws:kms")
	p.Needs(s.BucketKey, s.usesKMS(), "bucketKey", "kmsKeyId or serverSideEncryption: aws:kms")
	if s.KMSContext != "" && json.Unmarshal([]byte(s.KMSContext), &map[string]string{}) != nil {
		p.Add("kmsContext", s.KMSContext, `a JSON object with string values such as {"team":"backup"}`)
	}
	if !s.SignsBodies() && a.PlainHTTP() {
		p.Addf("payloadSigning: unsigned over plain http would leave nothing to notice a changed body; use https or sha256")
	}
	if s.ContentMD5 && noMD5() {
		p.Addf("contentMD5: is not possible in Go's FIPS 140 mode, which this process runs in")
	}
}

func (s *Settings) validateLock(p *settings.Problems) {
	if (s.ObjectLockMode == "") != (s.ObjectLockRetention == 0) {
		p.Addf("objectLockMode and objectLockRetention: one is set without the other")
	}
	if s.ObjectLockRetention != 0 && s.ObjectLockRetention < time.Minute {
		p.Add("objectLockRetention", s.ObjectLockRetention.String(), "a minute or more")
	}
	if s.ObjectLockRetention > 100*365*24*time.Hour {
		p.Add("objectLockRetention", s.ObjectLockRetention.String(), "at most 100 years")
	}
}

func (s *Settings) validateLimits(p *settings.Problems) {
	if s.PartSize != 0 && (s.PartSize < MinPartSize || s.PartSize > maxPartSize) {
		p.Add("partSize", s.PartSize.String(), "a size from 5MiB to 5GiB")
	}
	if s.UploadConcurrency < 1 || s.UploadConcurrency > 64 {
		p.Addf("uploadConcurrency: %d is not accepted; it takes a number from 1 to 64", s.UploadConcurrency)
	}
	if s.UploadMemoryLimit < MinPartSize {
		p.Add("uploadMemoryLimit", s.UploadMemoryLimit.String(), "5MiB or more")
	}
}
