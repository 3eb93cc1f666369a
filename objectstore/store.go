package objectstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/sirupsen/logrus"
)

// Store is a storage location. It never changes, and its methods may be called
// at the same time.
type Store struct {
	settings Settings
	log      logrus.FieldLogger
	secrets  *s3err.Secrets

	endpoint account.Endpoint
	region   string
	creds    *credentials.Credentials
	identity account.Identity
	client   *minio.Core
	public   *minio.Core // signs URLs
	locator  *minio.Client
	http     http.RoundTripper

	sse      encrypt.ServerSide
	tags     map[string]string
	checksum minio.ChecksumType
	schedule schedule
	memory   *memory

	firstPause time.Duration
	sendMD5    atomic.Bool // also learned from the server
	bucketOK   atomic.Bool // the bucket has been seen
}

// Open returns the store for the config of a location. All that is wrong with
// the config is in one error. Open fetches the credentials, so missing ones are
// an error here; it asks the storage only where the config leaves the region
// open or wants a write probe. It does not keep ctx.
func Open(ctx context.Context, log logrus.FieldLogger, config map[string]string) (*Store, error) {
	parsed, err := parse(config)
	if err != nil {
		return nil, err
	}
	return connect(ctx, log, parsed, config)
}

func connect(ctx context.Context, log logrus.FieldLogger, parsed Settings, config map[string]string) (*Store, error) {
	s := &Store{settings: parsed, secrets: &s3err.Secrets{}, endpoint: parsed.Endpoint(), firstPause: firstPause}
	s.log = s.secrets.Log(log)
	s.rememberSecrets(config)
	for _, rejected := range s.settings.Trust().Rejected {
		s.log.WithField("certificate", rejected).Warn("Ignoring a certificate that cannot be used")
	}
	for _, step := range []func(context.Context) error{s.identify, s.prepare, s.dial, s.probe} {
		if err := step(ctx); err != nil {
			return nil, s.failed(opOpen, parsed.Bucket, "", err)
		}
	}
	s.tellUnused()
	return s, nil
}

// rememberSecrets learns the secrets in the settings, and what only looks like
// one: somebody may have put it into the wrong key.
func (s *Store) rememberSecrets(config map[string]string) {
	for _, value := range config {
		if settings.LooksSecret(value) {
			s.secrets.Add(value)
		}
	}
	s.secrets.Add(s.settings.ProxySecrets()...)
}

// identify finds the region and the credentials.
func (s *Store) identify(ctx context.Context) (err error) {
	wire := watchdog{next: transportFor(&s.settings), stall: s.settings.StallTimeout, answer: s.settings.RequestTimeout}
	if s.region, _, err = s.settings.FindRegion(ctx, plainErrors{wire}); err != nil {
		return err
	}
	s.creds, s.identity, err = account.Credentials(ctx, &s.settings.Settings, s.region, s.secrets, s.log)
	return err
}

// prepare derives from the settings what each upload needs.
func (s *Store) prepare(ctx context.Context) (err error) {
	s.tags = parseTags(s.settings.Tagging)
	s.checksum = checksumFor(&s.settings, s.endpoint)
	s.schedule = scheduleFor(&s.settings, s.endpoint)
	s.memory = newMemory(int64(s.settings.UploadMemoryLimit))
	s.sendMD5.Store(s.settings.ContentMD5 || s.settings.ObjectLockMode != "" || s.settings.ObjectLockLegalHold)
	s.sse, err = encryption(ctx, &s.settings, s.secrets)
	return err
}

// dial makes the clients. Nothing is sent yet.
func (s *Store) dial(ctx context.Context) (err error) {
	s.http = s.wire()
	if s.client, err = s.newClient(ctx, s.endpoint); err != nil {
		return err
	}
	s.public = s.client
	if s.settings.PublicURL != "" {
		s.public, err = s.newClient(ctx, s.settings.PublicEndpoint())
	}
	return err
}

func (s *Store) newClient(ctx context.Context, e account.Endpoint) (*minio.Core, error) {
	options := minio.Options{
		Creds:        s.creds,
		Secure:       e.Secure(),
		Region:       s.region,
		BucketLookup: e.Lookup,
		Transport:    s.http,
		MaxRetries:   1, // see retry.go
	}
	client, err := minio.NewCore(e.URL.Host, &options)
	if err != nil {
		return nil, faultf(KindInvalid, "%s: %w", e, err)
	}
	options.Creds = credentials.NewStaticV4("locator", "locator", "") // for an address, any will do
	if s.locator == nil {
		s.locator, err = minio.New(e.URL.Host, &options)
	}
	for _, c := range []*minio.Client{client.Client, s.locator} {
		c.SetS3EnableDualstack(s.settings.DualStack)
		if s.settings.Accelerate {
			c.SetS3TransferAccelerate(accelerateHost(s.settings.DualStack))
		}
	}
	return client, errors.Join(err, s.checkHost(ctx, client, e))
}

func accelerateHost(dualStack bool) string {
	if dualStack {
		return "s3-accelerate.dualstack.amazonaws.com"
	}
	return "s3-accelerate.amazonaws.com"
}

// checkHost makes sure that minio-go knows the AWS region: for one it does not
// know it silently goes to us-east-1.
func (s *Store) checkHost(ctx context.Context, client *minio.Core, e account.Endpoint) error {
	if !e.AWS() || s.region == account.DefaultRegion || s.settings.Anonymous || s.settings.Accelerate {
		return nil
	}
	u, err := client.PresignedGetObject(ctx, "bucket", "key", time.Minute, nil)
	if err == nil && strings.Contains(u.Host, account.DefaultRegion) {
		return faultf(KindRegion, "region %q is not known to this version of the plugin; set s3Url to an endpoint outside amazonaws.com, or use a newer version", s.region)
	}
	return err
}

// wire is the way of each request, from minio-go to the network.
func (s *Store) wire() http.RoundTripper {
	var t http.RoundTripper = transportFor(&s.settings)
	t = watchdog{next: t, stall: s.settings.StallTimeout, answer: s.settings.RequestTimeout}
	t = requestLog{next: t, log: s.log, secrets: s.secrets}
	t = resign{next: t, creds: s.creds, region: s.region, always: s.alwaysHeaders(), bodies: s.settings.PayloadSigning == "sha256"}
	t = plainErrors{next: t}
	return answers{next: t, time: s.settings.RequestTimeout}
}

// alwaysHeaders belong on every request.
func (s *Store) alwaysHeaders() map[string]string {
	always := map[string]string{}
	if s.settings.RequesterPays {
		always["X-Amz-Request-Payer"] = "requester"
	}
	if s.settings.ExpectedBucketOwner != "" {
		always["X-Amz-Expected-Bucket-Owner"] = s.settings.ExpectedBucketOwner
	}
	return always
}

// tellUnused logs what the settings ask for and do not get.
func (s *Store) tellUnused() {
	if s.settings.SignatureVersion == "1" {
		s.log.WithField("signatureVersion", s.settings.SignatureVersion).
			Warn("Ignoring signatureVersion: requests and URLs are signed with version 4")
	}
	if s.settings.EnableSharedConfig {
		s.log.Info("Ignoring enableSharedConfig: shared config is always read")
	}
}

// summary logs a finished operation.
func (s *Store) summary(message, bucket, key string, size int64, start time.Time, more logrus.Fields) {
	took := time.Since(start)
	fields := logrus.Fields{"bucket": bucket, "duration": took.Round(time.Millisecond).String()}
	if key != "" {
		fields["key"] = key
	}
	if size >= 0 {
		fields["bytes"] = size
		fields["rate"] = fmt.Sprintf("%v/s", settings.Bytes(float64(size)/max(took.Seconds(), 1e-6))/settings.MiB*settings.MiB)
	}
	s.log.WithFields(fields).WithFields(more).Info(message)
}
