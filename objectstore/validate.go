package objectstore

import (
	"crypto/x509"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/tags"
)

const (
	minPartSize = 5 * settings.MiB
	maxPartSize = 5 * settings.GiB
)

// Validate implements settings.Validator: the rules between and beyond the
// fields' types.
func (s *Settings) Validate(p *settings.Problems) {
	s.validateAddress(p)
	s.validateIdentity(p)
	s.validateEncryption(p)
	s.validateObjects(p)
	s.validateLimits(p)
}

func (s *Settings) validateAddress(p *settings.Problems) {
	if err := s3utils.CheckValidBucketName(s.Bucket); s.Bucket != "" && err != nil {
		p.Add("bucket", s.Bucket, "an S3 bucket name: "+lowerFirst(err.Error()))
	}
	checkAddress(p, "s3Url", s.S3URL, s.Bucket)
	checkAddress(p, "publicUrl", s.PublicURL, s.Bucket)
	if s.S3ForcePathStyle && s.Addressing == "virtual" {
		p.Addf("s3ForcePathStyle: true contradicts addressing: virtual; set one of them")
	}
	if s.S3URL != "" && !isAWS(s.S3URL) {
		refuseWith(p, s.DualStack, "dualStack", "s3Url outside AWS")
		refuseWith(p, s.Accelerate, "accelerate", "s3Url outside AWS")
	}
	if s.Accelerate && strings.Contains(s.Bucket, ".") {
		p.Addf("accelerate: AWS does not accelerate buckets with a dot in the name, such as %q", s.Bucket)
	}
	s.validateTrust(p)
	s.validateProxy(p)
}

// checkAddress accepts an http or https URL that is a host and nothing else:
// Velero's file-system backup uses only the host.
func checkAddress(p *settings.Problems, key, value, bucket string) {
	if value == "" {
		return
	}
	const accepted = "http://HOST or https://HOST, with a port if needed"
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		p.Add(key, withoutPassword(value), accepted)
	case u.User != nil:
		p.Add(key, withoutPassword(value), accepted+"; credentials go into the credentials file")
	case bucket != "" && strings.Trim(u.Path, "/") == bucket:
		p.Add(key, value, accepted+"; leave the bucket out")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		p.Add(key, withoutQuery(u), accepted+"; a path is not possible with S3 signatures")
	}
}

func (s *Settings) validateTrust(p *settings.Problems) {
	if s.CACert != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(s.CACert)) {
		p.Addf("caCert: holds no certificate; it takes PEM blocks of type CERTIFICATE (in the BackupStorageLocation: base64 of them)")
	}
	if s.CACert != "" && strings.HasPrefix(s.S3URL, "http://") && !strings.HasPrefix(s.PublicURL, "https://") {
		p.Addf("caCert: has no meaning with s3Url %q; use https or remove it", s.S3URL)
	}
}

func (s *Settings) validateProxy(p *settings.Problems) {
	proxy := s.ProxyURL.Reveal()
	if proxy == "" || proxy == "none" {
		return
	}
	u, err := url.Parse(proxy)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5") {
		p.Addf("proxyUrl: is not accepted; it takes http://, https:// or socks5:// with a host, or none")
	}
}

func (s *Settings) validateIdentity(p *settings.Problems) {
	if s.Anonymous {
		refuseWith(p, s.CredentialsFile != "", "credentialsFile", "anonymous")
		refuseWith(p, s.Profile != "", "profile", "anonymous")
		refuseWith(p, s.RoleARN != "", "roleArn", "anonymous")
	}
	if s.RoleARN == "" && s.ExternalID != "" {
		p.Addf("externalId: has no meaning without roleArn")
	}
	if s.RoleARN != "" && !strings.HasPrefix(s.RoleARN, "arn:") {
		p.Add("roleArn", s.RoleARN, "an ARN such as arn:aws:iam::123456789012:role/velero")
	}
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
	if s.customerKey() {
		refuseWith(p, kms || s.ServerSideEncryption != "", "customerKeyEncryptionFile or customerKeyEncryptionSecret", "another encryption (serverSideEncryption, kmsKeyId)")
		refuseWith(p, s.CustomerKeyFile != "" && s.CustomerKeySecret != "", "customerKeyEncryptionFile", "customerKeyEncryptionSecret")
		if strings.HasPrefix(s.S3URL, "http://") {
			p.Addf("s3Url: %q is plain http, and an SSE-C key must not travel unencrypted; use https", s.S3URL)
		}
	}
	if s.CustomerKeySecret != "" && strings.Count(s.CustomerKeySecret, "/") != 1 {
		p.Addf("customerKeyEncryptionSecret: is not accepted; it takes NAME/KEY of a Secret in Velero's namespace")
	}
	if !kms {
		needs(p, s.KMSContext != "", "kmsContext", "kmsKeyId or serverSideEncryption: aws:kms")
		needs(p, s.BucketKey, "bucketKey", "kmsKeyId or serverSideEncryption: aws:kms")
	}
	if s.KMSContext != "" && json.Unmarshal([]byte(s.KMSContext), &map[string]string{}) != nil {
		p.Add("kmsContext", s.KMSContext, `a JSON object of texts such as {"team":"backup"}`)
	}
	if s.PayloadSigning == "unsigned" && strings.HasPrefix(s.S3URL, "http://") {
		p.Addf("payloadSigning: unsigned over plain http would leave nothing to notice a changed body; use https or sha256")
	}
}

// customerKey tells whether the location uses SSE-C.
func (s *Settings) customerKey() bool { return s.CustomerKeyFile != "" || s.CustomerKeySecret != "" }

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

func refuseWith(p *settings.Problems, both bool, key, other string) {
	if both {
		p.Addf("%s: cannot be used together with %s", key, other)
	}
}

func needs(p *settings.Problems, missing bool, key, other string) {
	if missing {
		p.Addf("%s: needs %s", key, other)
	}
}

// withoutPassword cuts what may be a password or a token out of text that is
// perhaps no URL.
func withoutPassword(text string) string {
	text, query, _ := strings.Cut(text, "?")
	if at := strings.LastIndex(query, "@"); at >= 0 {
		text += "@" + query[at+1:] // the question mark was in the password
	}
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	}
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return text
	}
	return strings.TrimPrefix(scheme+"://…", "://") + rest[at:]
}

// withoutQuery is where a URL points to: its query may be a signature.
func withoutQuery(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func lowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + strings.TrimSuffix(text[1:], ".")
}
