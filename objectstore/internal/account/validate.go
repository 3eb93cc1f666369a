package account

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// Validate adds a problem for each rule between and beyond the fields' types
// that is broken. It first takes the space off values that have none.
func (s *Settings) Validate(p *settings.Problems) {
	for _, text := range []*string{&s.Region, &s.S3URL, &s.PublicURL, &s.Profile, &s.CredentialsFile, &s.RoleARN} {
		*text = strings.TrimSpace(*text)
	}
	s.validateAddress(p)
	s.validateIdentity(p)
	s.validateCustomerKey(p)
}

func (s *Settings) validateAddress(p *settings.Problems) {
	if err := s3utils.CheckValidBucketName(s.Bucket); strings.HasPrefix(s.Bucket, "arn:") {
		p.Add("bucket", s.Bucket, "the bucket's name, or of an access point the alias, which ends in -s3alias")
	} else if s.Bucket != "" && err != nil {
		p.Add("bucket", s.Bucket, "an S3 bucket name: "+lowerFirst(err.Error()))
	}
	s.checkAddress(p, "s3Url", s.S3URL)
	s.checkAddress(p, "publicUrl", s.PublicURL)
	if s.S3ForcePathStyle && s.Addressing == "virtual" {
		p.Addf("s3ForcePathStyle: true contradicts addressing: virtual; set one of them")
	}
	if s.S3URL != "" && !s.Endpoint().AWS() {
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
func (s *Settings) checkAddress(p *settings.Problems, key, value string) {
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
	case s.Bucket != "" && strings.Trim(u.Path, "/") == s.Bucket:
		p.Add(key, withoutQuery(u), accepted+"; leave the bucket out")
	case s.Addressing != "path" && bucketInHost(u, s.Bucket):
		was := withoutQuery(u)
		u.Host = strings.TrimPrefix(u.Host, s.Bucket+".")
		p.Add(key, was, "the address without the bucket: "+withoutQuery(u)+"; if the word is a part of the host's own name, set addressing: path")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		p.Add(key, withoutQuery(u), accepted+"; a path is not possible with S3 signatures")
	}
}

// storageHosts are hosts of storages before which a bucket may stand. Elsewhere
// the first word of a host may be the same as the bucket's name by chance.
var storageHosts = regexp.MustCompile(`^(?:s3|minio|oss|cos|obs|objects?|storage)[.-].*\.[a-z]{2,}$|\.(?:digitaloceanspaces|linodeobjects|vultrobjects|cloudflarestorage|exo)\.[a-z]+$`)

func bucketInHost(u *url.URL, bucket string) bool {
	rest, found := strings.CutPrefix(u.Hostname(), bucket+".")
	return found && storageHosts.MatchString(rest) && !hasSuffix(rest, ".svc", ".local")
}

func (s *Settings) validateTrust(p *settings.Problems) {
	if taken, rejected := certificates("caCert", s.CACert); s.CACert != "" && len(taken) == 0 {
		p.Addf("caCert: %s", strings.Join(append([]string{"holds no certificate; it takes PEM blocks of type CERTIFICATE (in the BackupStorageLocation: base64 of them)"}, rejected...), "; "))
	}
	if s.CACert != "" && s.PlainHTTP() && !s.PublicEndpoint().Secure() {
		p.Addf("caCert: has no meaning with s3Url %q; use https or remove it", withoutPassword(s.S3URL))
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
}

func (s *Settings) validateCustomerKey(p *settings.Problems) {
	refuseWith(p, s.CustomerKeyFile != "" && s.CustomerKeySecret != "", "customerKeyEncryptionFile", "customerKeyEncryptionSecret")
	if s.HasCustomerKey() && s.PlainHTTP() {
		p.Addf("s3Url: %q is plain http, and an SSE-C key must not travel unencrypted; use https", withoutPassword(s.S3URL))
	}
	if s.CustomerKeySecret != "" && strings.Count(s.CustomerKeySecret, "/") != 1 {
		p.Addf("customerKeyEncryptionSecret: is not accepted; it takes NAME/KEY of a Secret in Velero's namespace")
	}
}

func refuseWith(p *settings.Problems, both bool, key, other string) {
	if both {
		p.Addf("%s: cannot be used together with %s", key, other)
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
