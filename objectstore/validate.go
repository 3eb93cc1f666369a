package objectstore

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/minio/minio-go/v7/pkg/tags"
)

const (
	minPartSize = 5 * settings.MiB
	maxPartSize = 5 * settings.GiB
)

// Validate implements settings.Validator: the rules between and beyond the
// fields' types.
func (s *Settings) Validate(p *settings.Problems) {
	s.Settings.Validate(p)
	s.validateIdentity(p)
	s.validateEncryption(p)
	s.validateObjects(p)
	s.validateLimits(p)
}

func (s *Settings) validateIdentity(p *settings.Problems) {
	if s.ExpectedBucketOwner != "" && !isAccount(s.ExpectedBucketOwner) {
		p.Add("expectedBucketOwner", s.ExpectedBucketOwner, "the 12 digits of an AWS account, in quotes")
	}
	if s.SignatureVersion != "" && s.SignatureVersion != "1" && s.SignatureVersion != "4" {
		p.Add("signatureVersion", s.SignatureVersion, "4 (or 1, which velero-plugin-for-aws accepts and ignores as well)")
	}
}

func isAccount(text string) bool {
	return len(text) == 12 && strings.Trim(text, "0123456789") == ""
}

func (s *Settings) validateEncryption(p *settings.Problems) {
	kms := s.KMSKeyID != "" || strings.HasPrefix(s.ServerSideEncryption, "aws:kms")
	if s.KMSKeyID != "" && s.ServerSideEncryption == "AES256" {
		p.Addf("kmsKeyId: contradicts serverSideEncryption: AES256; set aws:kms or remove one of them")
	}
	if s.HasCustomerKey() && (kms || s.ServerSideEncryption != "") {
		p.Addf("customerKeyEncryptionFile or customerKeyEncryptionSecret: cannot be used together with another encryption (serverSideEncryption, kmsKeyId)")
	}
	if !kms {
		needs(p, s.KMSContext != "", "kmsContext", "kmsKeyId or serverSideEncryption: aws:kms")
		needs(p, s.BucketKey, "bucketKey", "kmsKeyId or serverSideEncryption: aws:kms")
	}
	if s.KMSContext != "" && json.Unmarshal([]byte(s.KMSContext), &map[string]string{}) != nil {
		p.Add("kmsContext", s.KMSContext, `a JSON object of texts such as {"team":"backup"}`)
	}
	if s.PayloadSigning == "unsigned" && s.PlainHTTP() {
		p.Addf("payloadSigning: unsigned over plain http would leave nothing to notice a changed body; use https or sha256")
	}
}

func (s *Settings) validateObjects(p *settings.Problems) {
	if _, err := tags.Parse(s.Tagging, true); s.Tagging != "" && err != nil {
		p.Add("tagging", s.Tagging, "at most 10 tags as key1=value1&key2=value2, URL-encoded: "+lowerFirst(err.Error()))
	}
	if _, ok := checksumAlgorithms[strings.ToUpper(s.ChecksumAlgorithm)]; !ok {
		p.Add("checksumAlgorithm", s.ChecksumAlgorithm, "none, auto, CRC32, CRC32C, SHA1, SHA256 or CRC64NVME")
	}
	switch strings.ToUpper(s.StorageClass) {
	case "GLACIER", "DEEP_ARCHIVE":
		p.Add("storageClass", s.StorageClass, "a class that can be read at once, such as STANDARD_IA or GLACIER_IR")
	}
	if (s.ObjectLockMode == "") != (s.ObjectLockRetention == 0) {
		p.Addf("objectLockMode and objectLockRetention: one is set without the other")
	}
	if s.ObjectLockRetention != 0 && s.ObjectLockRetention < time.Minute {
		p.Add("objectLockRetention", s.ObjectLockRetention.String(), "a minute or more")
	}
	if s.ObjectLockRetention > 100*365*24*time.Hour {
		p.Add("objectLockRetention", s.ObjectLockRetention.String(), "at most 100 years")
	}
	needs(p, s.BypassGovernance && !s.DeleteVersions, "bypassGovernanceRetention", "deleteVersions")
}

func (s *Settings) validateLimits(p *settings.Problems) {
	if s.PartSize != 0 && (s.PartSize < minPartSize || s.PartSize > maxPartSize) {
		p.Add("partSize", s.PartSize.String(), "a size from 5MiB to 5GiB")
	}
	if s.UploadConcurrency < 1 || s.UploadConcurrency > 64 {
		p.Addf("uploadConcurrency: %d is not accepted; it takes a number from 1 to 64", s.UploadConcurrency)
	}
	if s.UploadMemoryLimit < minPartSize {
		p.Add("uploadMemoryLimit", s.UploadMemoryLimit.String(), "5MiB or more")
	}
	if s.MaxRetries < 0 || s.MaxRetries > 20 {
		p.Addf("maxRetries: %d is not accepted; it takes a number from 0 to 20", s.MaxRetries)
	}
	checkWait(p, "requestTimeout", s.RequestTimeout)
	checkWait(p, "stallTimeout", s.StallTimeout)
}

func checkWait(p *settings.Problems, key string, value time.Duration) {
	if value < time.Second || value > time.Hour {
		p.Add(key, value.String(), "a duration from 1s to 1h")
	}
}

func needs(p *settings.Problems, missing bool, key, other string) {
	if missing {
		p.Addf("%s: needs %s", key, other)
	}
}

func lowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + strings.TrimSuffix(text[1:], ".")
}
