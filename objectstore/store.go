package objectstore

import (
	"context"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/download"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/encryption"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/upload"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// Store is a storage location. It never changes, and its methods may be called
// at the same time.
type Store struct {
	settings Settings
	log      logrus.FieldLogger
	secrets  *s3err.Secrets

	region     string
	creds      *credentials.Credentials
	identity   account.Identity
	keys       *encryption.Keys
	client     *client.Client
	public     *minio.Core // signs URLs
	uploader   *upload.Uploader
	downloader *download.Downloader
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
	s := newStore(log, parsed, config)
	if _, _, err := s.FindRegion(ctx); err != nil {
		return nil, err
	}
	if _, err := s.Identify(ctx); err != nil {
		return nil, err
	}
	if err := s.Connect(ctx); err != nil {
		return nil, err
	}
	s.tellUnused()
	return s, s.probe(ctx, probeLimit)
}

// WithSecrets has Open and Diagnosis read the Secrets that a config names by read, in
// place of the cluster that this process belongs to.
func WithSecrets(ctx context.Context, read func(ctx context.Context, name, key string) ([]byte, error)) context.Context {
	return account.WithSecrets(ctx, read)
}

// LogUsage logs in one line what this process has asked of S3, by operation: requests,
// those that were made again, bytes and time. It logs nothing if that is nothing.
func LogUsage(log logrus.FieldLogger) { wire.LogUsage(log) }

func newStore(log logrus.FieldLogger, parsed Settings, config map[string]string) *Store {
	secrets := &s3err.Secrets{}
	s := &Store{settings: parsed, log: secrets.Log(log), secrets: secrets}
	for _, value := range config {
		if settings.LooksSecret(value) { // somebody may have put it into the wrong key
			s.secrets.Add(value)
		}
	}
	s.secrets.Add(s.settings.ProxySecrets()...)
	for _, rejected := range s.settings.Trust().Rejected {
		s.log.WithField("certificate", rejected).Warn("Ignoring a certificate that cannot be used")
	}
	return s
}

// The steps of opening, in their order. A diagnosis takes them one by one.

// FindRegion finds the region to sign for, and says where it is from.
func (s *Store) FindRegion(ctx context.Context) (region, source string, err error) {
	s.region, source, err = s.settings.FindRegion(ctx, wire.Bare(&s.settings.Account, s.settings.Limits()))
	if err != nil {
		return "", "", s.failed(s3err.OpOpen, s.settings.Bucket, "", err)
	}
	return s.region, source, nil
}

// Identify finds the credentials. The region must be known.
func (s *Store) Identify(ctx context.Context) (_ account.Identity, err error) {
	s.creds, s.identity, err = account.Credentials(ctx, &s.settings.Account, s.region, s.secrets, s.log)
	if err != nil {
		return account.Identity{}, s.failed(s3err.OpOpen, s.settings.Bucket, "", err)
	}
	return s.identity, nil
}

// FindKeys finds the keys of the encryption by the plugin, proves that what they
// encrypt can be decrypted, and returns how many there are.
func (s *Store) FindKeys(ctx context.Context) (public, private int, err error) {
	keys, err := s.settings.Keys(ctx, s.secrets)
	if err != nil {
		return 0, 0, s.failed(s3err.OpOpen, s.settings.Bucket, "", err)
	}
	s.keys = keys
	public, private = keys.Counts()
	return public, private, nil
}

// Connect makes the clients, which everything else needs, and finds the keys unless
// they are found. It sends nothing to the storage.
func (s *Store) Connect(ctx context.Context) error {
	if s.keys == nil {
		if _, _, err := s.FindKeys(ctx); err != nil {
			return err
		}
	}
	if err := s.connect(ctx); err != nil {
		return s.failed(s3err.OpOpen, s.settings.Bucket, "", err)
	}
	return nil
}

func (s *Store) connect(ctx context.Context) error {
	sse, err := s.settings.ServerSide(ctx, &s.settings.Account, s.secrets)
	if err != nil {
		return err
	}
	var read minio.GetObjectOptions
	if s.settings.HasCustomerKey() {
		read.ServerSideEncryption = sse
	}
	if s.settings.Checksum(s.settings.Endpoint()) != minio.ChecksumNone {
		read.Set("x-amz-checksum-mode", "ENABLED")
	}
	s.client, err = client.New(ctx, client.Options{
		Account: &s.settings.Account, Settings: &s.settings.Requests, Region: s.region, Prefix: s.settings.Prefix,
		Credentials: s.creds, Log: s.log, Report: s.report(), Read: read, SignBodies: s.settings.SignsBodies(),
	})
	if err != nil {
		return err
	}
	s.client.SendMD5.Store(s.settings.ContentMD5 || s.settings.Locks())
	s.uploader = upload.New(s.client, &s.settings.Uploads, sse)
	s.downloader = download.New(s.client, &s.settings.Downloads)
	s.public, err = s.client.Public(ctx)
	return err
}

func (s *Store) report() *s3err.Reporter {
	return &s3err.Reporter{
		Endpoint: s.settings.Endpoint().String(), Region: s.region, Credentials: s.identity.Advice(), Untrusted: s.settings.Trust().Rejected,
		ObjectLock: s.settings.ObjectLockMode != "", Secrets: s.secrets, Log: s.log,
	}
}

// failed turns err into the one error that leaves the package.
func (s *Store) failed(op, bucket, key string, err error) error {
	return s.report().Failed(op, bucket, key, err)
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
