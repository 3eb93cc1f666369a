package account

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
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
	// fileUsed is whether a file was the source of the last credentials.
	fileUsed bool
}

// credentialsClient always verifies certificates: insecureSkipTLSVerify is
// about the storage. The SDK wants a client that it can add AWS_CA_BUNDLE to.
func credentialsClient(s *Settings) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTimeout(fetchTimeout).WithTransportOptions(func(t *http.Transport) {
		t.Proxy = exceptNearby(s.Proxy())
		t.DialContext = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
		t.TLSHandshakeTimeout = 10 * time.Second
		if pool := s.Trust().Pool; pool != nil {
			t.TLSClientConfig.RootCAs = pool.Clone() // the SDK adds AWS_CA_BUNDLE
		}
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
// fresh load sees changed files; the SDK itself reads them once.
func (s *sdk) fetch(ctx context.Context) (aws.Credentials, error) {
	file, err := s.source(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	fetched, err := s.load(ctx, file)
	if err != nil {
		return aws.Credentials{}, s.refused(ctx, file, err)
	}
	s.secrets.Add(fetched.SecretAccessKey, fetched.SessionToken)
	s.fileUsed = file != ""
	return fetched, nil
}

func (s *sdk) load(ctx context.Context, file string) (aws.Credentials, error) {
	cfg, err := config.LoadDefaultConfig(ctx, s.options(file)...)
	if err != nil {
		return aws.Credentials{}, err
	}
	if process := s.processOf(cfg); process != nil {
		cfg.Credentials = process
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
		config.WithHTTPClient(credentialsClient(s.settings)),
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
	if empty := s.settings.CredentialsFile; empty != "" {
		// It stands in the place of the file that velero install names.
		options = append(options, config.WithSharedCredentialsFiles([]string{empty}))
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
