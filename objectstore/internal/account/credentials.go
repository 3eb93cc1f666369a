package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sirupsen/logrus"
)

// credentialsTimeout bounds one fetch of credentials, over all its requests.
const credentialsTimeout = 30 * time.Second

// renewBefore is how long before their end credentials are renewed. A signed
// URL dies with the credentials that signed it, and Velero's live ten minutes.
const renewBefore = 12 * time.Minute

// provider gives minio-go the credentials that the AWS SDK finds: keys,
// profiles, assumed roles, web identity, EKS pod identity, containers,
// instances, SSO and processes. It is used behind credentials.Credentials,
// which lets in one caller at a time.
type provider struct {
	settings *Settings
	region   string
	secrets  *s3err.Secrets
	log      logrus.FieldLogger
	client   *awshttp.BuildableClient

	current aws.Credentials
	fetched time.Time
	files   fileStamp
	checked time.Time // when the files were last looked at
	changed bool      // and they were others
}

// Identity says whose credentials are used, without the secret.
type Identity struct {
	Source    string // the provider that answered
	AccessKey string
	Expires   time.Time // zero for never
}

// Credentials returns the credentials for the settings, or an error where there
// are none. It never falls back to anonymous requests. secrets learns each
// secret that they ever hold.
func Credentials(ctx context.Context, s *Settings, region string, secrets *s3err.Secrets, log logrus.FieldLogger) (*credentials.Credentials, Identity, error) {
	if s.Anonymous {
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous), Identity{Source: "anonymous"}, nil
	}
	p := &provider{settings: s, region: region, secrets: secrets, log: log, client: credentialsClient(s)}
	creds := credentials.New(p)
	if _, err := creds.GetWithContext(&credentials.CredContext{Context: ctx}); err != nil {
		return nil, Identity{}, err
	}
	return creds, p.identity(), nil
}

func (p *provider) identity() Identity {
	found := Identity{Source: p.current.Source, AccessKey: p.current.AccessKeyID}
	if p.current.CanExpire {
		found.Expires = p.current.Expires
	}
	return found
}

// credentialsClient always verifies certificates: insecureSkipTLSVerify is
// about the storage. The SDK wants a client that it can add AWS_CA_BUNDLE to.
func credentialsClient(s *Settings) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTimeout(credentialsTimeout).WithTransportOptions(func(t *http.Transport) {
		t.Proxy = exceptNearby(s.Proxy())
		t.DialContext = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
		t.TLSHandshakeTimeout = 10 * time.Second
		t.TLSClientConfig.RootCAs = Roots(s.CACert).Pool
	})
}

// exceptNearby leaves the metadata services of machine and pod out of the
// proxy, which could not reach them.
func exceptNearby(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if proxy == nil {
		return nil
	}
	return func(req *http.Request) (*url.URL, error) {
		ip := net.ParseIP(req.URL.Hostname())
		if ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast()) {
			return nil, nil
		}
		return proxy(req)
	}
}

// Retrieve implements credentials.Provider.
func (p *provider) Retrieve() (credentials.Value, error) {
	return p.RetrieveWithCredContext(nil)
}

// RetrieveWithCredContext fetches the credentials anew, files included. Where
// that fails and the former ones still hold, they are kept: a file is not whole
// while it is being written.
func (p *provider) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	ctx := context.Background()
	if cc != nil && cc.Context != nil {
		ctx = cc.Context
	}
	ctx, cancel := context.WithTimeoutCause(ctx, credentialsTimeout,
		s3err.Errorf(s3err.Timeout, "fetching the credentials took more than %v", credentialsTimeout))
	defer cancel()
	stamp := stampOf(p.paths())
	fetched, err := p.fetch(ctx)
	p.changed = false
	if err != nil {
		return p.former(err)
	}
	p.current, p.files, p.fetched, p.checked = fetched, stamp, time.Now(), time.Now()
	return p.value(), nil
}

func (p *provider) value() credentials.Value {
	p.secrets.Add(p.current.SecretAccessKey, p.current.SessionToken)
	return credentials.Value{
		AccessKeyID:     p.current.AccessKeyID,
		SecretAccessKey: p.current.SecretAccessKey,
		SessionToken:    p.current.SessionToken,
		SignerType:      credentials.SignatureV4,
	}
}

func (p *provider) former(err error) (credentials.Value, error) {
	if !p.current.HasKeys() || p.current.Expired() {
		return credentials.Value{}, p.refused(err)
	}
	p.log.WithError(err).Warn("Could not read the credentials again, keeping the former ones")
	return p.value(), nil
}

func (p *provider) refused(err error) error {
	p.secrets.Add(p.unread()...)
	where := "the default chain (environment, web identity, pod identity, instance role)"
	if file := p.file(); file != "" {
		where = fmt.Sprintf("profile %q of %s", p.profile(), file)
	}
	return s3err.Errorf(s3err.Credentials, "no credentials from %s: %w", where, withoutOutput(err))
}

// unread are the words of the files and variables that the credentials were to
// come from: where one cannot be read, the SDK or a service may quote it.
func (p *provider) unread() []string {
	words := []string{os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")}
	paths := append(p.paths(), os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
	for _, path := range paths {
		text, _ := os.ReadFile(path) //nolint:gosec // the SDK reads it too
		words = append(words, strings.FieldsFunc(string(text), func(r rune) bool {
			return unicode.IsSpace(r) || strings.ContainsRune(`=:,"'{}[]`, r)
		})...)
	}
	const shortest = 16 // shorter words are names
	return slices.DeleteFunc(words, func(word string) bool { return len(word) < shortest || knownWords[word] })
}

// knownWords are those of a credentials file that an error should go on naming.
var knownWords = map[string]bool{
	"aws_access_key_id": true, "aws_secret_access_key": true, "aws_session_token": true, "credential_process": true,
	"credential_source": true, "web_identity_token_file": true, "role_session_name": true,
}

// withoutOutput leaves out what a credential_process printed. The SDK quotes it
// where it is not in the documented form.
func withoutOutput(err error) error {
	var process *processcreds.ProviderError
	var exit *exec.ExitError
	var start *exec.Error
	if !errors.As(err, &process) || errors.As(err, &exit) || errors.As(err, &start) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.New("the profile's credential_process printed no credentials in the form that the AWS SDK documents")
}

// fetch loads the SDK's configuration and takes the credentials out of it. A
// fresh load sees changed files; the SDK itself reads them once.
func (p *provider) fetch(ctx context.Context) (aws.Credentials, error) {
	cfg, err := config.LoadDefaultConfig(ctx, p.options()...)
	if err != nil {
		return aws.Credentials{}, err
	}
	if p.settings.RoleARN != "" {
		cfg.Credentials = p.assume(cfg)
	}
	if cfg.Credentials == nil {
		return aws.Credentials{}, errors.New("none are configured")
	}
	fetched, err := cfg.Credentials.Retrieve(ctx)
	if err == nil && !fetched.HasKeys() {
		err = errors.New("they hold no access key and secret key")
	}
	return fetched, err
}

func (p *provider) options() []func(*config.LoadOptions) error {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(p.client),
		config.WithDefaultRegion(stsRegion(p.region)),
		config.WithRetryMaxAttempts(3),
	}
	if sample := Roots(p.settings.CACert).sample; sample != nil {
		options = append(options, config.WithCustomCABundle(bytes.NewReader(sample)))
	}
	if file := p.file(); file != "" {
		// velero-plugin-for-aws reads the file in both roles, so that it may
		// hold role_arn and source_profile. Naming a profile puts the file
		// before what the environment offers.
		return append(options,
			config.WithSharedCredentialsFiles([]string{file}),
			config.WithSharedConfigFiles([]string{file}),
			config.WithSharedConfigProfile(p.profile()))
	}
	if p.settings.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(p.settings.Profile))
	}
	return options
}

func (p *provider) assume(cfg aws.Config) aws.CredentialsProvider {
	return stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), p.settings.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = p.settings.SessionName
		if p.settings.ExternalID != "" {
			o.ExternalID = aws.String(p.settings.ExternalID)
		}
	})
}

// stsRegion is a region that STS knows: some storages have regions of their own.
func stsRegion(region string) string {
	if isAWSRegion(region) {
		return region
	}
	return DefaultRegion
}

// file is the credentials file that the location or velero install names.
func (p *provider) file() string {
	if p.settings.CredentialsFile != "" {
		return p.settings.CredentialsFile
	}
	return os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
}

func (p *provider) profile() string {
	if p.settings.Profile != "" {
		return p.settings.Profile
	}
	if profile := os.Getenv("AWS_PROFILE"); profile != "" {
		return profile
	}
	return config.DefaultSharedConfigProfile
}

// paths are the files that the credentials may come from.
func (p *provider) paths() []string {
	if file := p.file(); file != "" {
		return []string{file}
	}
	paths := []string{os.Getenv("AWS_CONFIG_FILE"), os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")}
	if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".aws", "config"), filepath.Join(home, ".aws", "credentials"))
	}
	return paths
}

// IsExpired tells whether the credentials are at their end or their file has
// changed. The file is looked at once a second at most.
func (p *provider) IsExpired() bool {
	if p.current.CanExpire && p.nearEnd() {
		return true
	}
	if time.Since(p.checked) >= time.Second {
		p.checked = time.Now()
		p.changed = stampOf(p.paths()) != p.files
	}
	return p.changed
}

// nearEnd tells whether it is time to renew: renewBefore the end, or later for
// credentials that hardly live longer, and not again within a minute.
func (p *provider) nearEnd() bool {
	left := time.Until(p.current.Expires)
	if time.Since(p.fetched) < time.Minute {
		return left < 0
	}
	lifetime := p.current.Expires.Sub(p.fetched)
	return left < min(renewBefore, max(lifetime/5, time.Minute))
}

// fileStamp changes when one of the files does.
type fileStamp string

func stampOf(paths []string) fileStamp {
	var stamp fileStamp
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil { //nolint:gosec // the SDK reads it too
			stamp += fileStamp(fmt.Sprint(info.ModTime().UnixNano(), info.Size(), ";"))
		}
	}
	return stamp
}
