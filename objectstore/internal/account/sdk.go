package account

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/sirupsen/logrus"
)

// sdk finds credentials with the AWS SDK: keys, profiles, assumed roles, web
// identity, EKS pod identity, containers, instances, SSO and processes.
type sdk struct {
	settings *Settings
	region   string
	secrets  *s3err.Secrets
	log      logrus.FieldLogger
	client   *awshttp.BuildableClient
}

// credentialsClient always verifies certificates: insecureSkipTLSVerify is
// about the storage. The SDK wants a client that it can add AWS_CA_BUNDLE to.
func credentialsClient(s *Settings) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTimeout(fetchTimeout).WithTransportOptions(func(t *http.Transport) {
		t.Proxy = exceptNearby(s.Proxy())
		t.DialContext = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
		t.TLSHandshakeTimeout = 10 * time.Second
		t.TLSClientConfig.RootCAs = s.Trust().Pool
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

// fetch loads the SDK's configuration and takes the credentials out of it. A
// fresh load sees changed files; the SDK itself reads them once. A file that the
// location or velero install names is the only source, unless it is empty at
// first.
func (s *sdk) fetch(ctx context.Context, first bool) (aws.Credentials, error) {
	file := s.file()
	if file != "" {
		empty, err := s.examine(ctx, file, first)
		if err != nil {
			return aws.Credentials{}, err
		}
		if empty {
			file = ""
		}
	}
	fetched, err := s.load(ctx, file)
	if err != nil {
		return aws.Credentials{}, s.refused(file, err)
	}
	s.secrets.Add(fetched.SecretAccessKey, fetched.SessionToken)
	return fetched, nil
}

func (s *sdk) load(ctx context.Context, file string) (aws.Credentials, error) {
	cfg, err := config.LoadDefaultConfig(ctx, s.options(file)...)
	if err != nil {
		return aws.Credentials{}, err
	}
	if s.settings.RoleARN != "" {
		cfg.Credentials = s.assume(cfg)
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

func (s *sdk) options(file string) []func(*config.LoadOptions) error {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(s.client),
		config.WithDefaultRegion(stsRegion(s.region)),
		config.WithRetryMaxAttempts(3),
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, args ...any) {
			s.log.Debugf("AWS SDK: "+format, args...)
		})),
	}
	if sample := s.settings.Trust().sample; sample != nil {
		options = append(options, config.WithCustomCABundle(bytes.NewReader(sample)))
	}
	if file != "" {
		// velero-plugin-for-aws reads the file in both roles, so that it may
		// hold role_arn and source_profile. Naming a profile puts the file
		// before what the environment offers.
		return append(options,
			config.WithSharedCredentialsFiles([]string{file}),
			config.WithSharedConfigFiles([]string{file}),
			config.WithSharedConfigProfile(s.profile()))
	}
	if s.settings.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.settings.Profile))
	}
	return options
}

func (s *sdk) assume(cfg aws.Config) aws.CredentialsProvider {
	return stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), s.settings.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = s.settings.SessionName
		if s.settings.ExternalID != "" {
			o.ExternalID = aws.String(s.settings.ExternalID)
		}
	})
}

// refused says where no credentials came from, why, and what to do. What is
// passing keeps its kind, so that it is tried again.
func (s *sdk) refused(file string, err error) error {
	s.secrets.Add(s.unread()...)
	where, hint := s.chain()
	if file != "" {
		where, hint = fmt.Sprintf("profile %q of %s", s.profile(), file), ""
	}
	kind := s3err.KindOf(err)
	switch kind {
	case s3err.Timeout, s3err.Unreachable:
		hint = "the service behind the credentials is away: check DNS, network policies and the proxy settings"
	case s3err.Trust, s3err.TLS, s3err.Canceled:
		hint = ""
	default:
		kind = s3err.Credentials
	}
	return s3err.Hinted(kind, hint, "no credentials from %s: %w", where, withoutOutput(err))
}

// chain names the link of the SDK's chain that the environment asks for.
func (s *sdk) chain() (where, hint string) {
	switch {
	case os.Getenv("AWS_ACCESS_KEY_ID") != "":
		return "the environment (AWS_ACCESS_KEY_ID)", ""
	case os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "":
		return "web identity (role " + s3err.Clean(os.Getenv("AWS_ROLE_ARN"), 200) + ")",
			"check that the role exists, and that its trust policy names this cluster's OIDC provider and Velero's service account"
	case os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		return "the pod identity (AWS_CONTAINER_CREDENTIALS_FULL_URI)",
			"check the pod identity association of Velero's service account"
	}
	return "the default chain (environment, web identity, pod identity, instance role)",
		"name a Secret with credentials in spec.credential of the location, or give Velero's service account a role"
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

// file is the credentials file that the location or velero install names.
func (s *sdk) file() string {
	if s.settings.CredentialsFile != "" {
		return s.settings.CredentialsFile
	}
	return os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
}

func (s *sdk) profile() string {
	if s.settings.Profile != "" {
		return s.settings.Profile
	}
	if profile := os.Getenv("AWS_PROFILE"); profile != "" {
		return profile
	}
	return config.DefaultSharedConfigProfile
}

// paths are the files that the credentials may come from.
func (s *sdk) paths() []string {
	paths := []string{s.file(), os.Getenv("AWS_CONFIG_FILE"), os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")}
	if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".aws", "config"), filepath.Join(home, ".aws", "credentials"))
	}
	return paths
}

// stamp changes when the content of a file does. Velero writes its files again
// and again with the same content.
type stamp [sha256.Size]byte

func stampOf(paths []string) stamp {
	all := sha256.New()
	for _, path := range paths {
		content, _ := os.ReadFile(path)
		fmt.Fprintf(all, "%d;%s;", len(content), content)
	}
	return stamp(all.Sum(nil))
}
