package objectstore

import (
	"context"
	"net/url"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Bounds of a signed URL's life, of signature version 4.
const (
	minTTL = time.Second
	maxTTL = 7 * 24 * time.Hour
)

// CreateSignedURL returns a URL that lets its holder read key for ttl, kept
// within what S3 allows. It is made for publicUrl where that is set. The URL is a
// secret. An encrypted object gets none, since its holder could not read it; where
// the location has keys the object is looked at for that. Otherwise nothing is sent,
// and the object may be missing.
func (s *Store) CreateSignedURL(ctx context.Context, bucket, key string, ttl time.Duration) (string, error) {
	u, err := s.sign(ctx, bucket, key, min(max(ttl, minTTL), maxTTL))
	if err != nil {
		return "", s.failed(s3err.OpSign, bucket, key, err)
	}
	return u.String(), nil
}

func (s *Store) sign(ctx context.Context, bucket, key string, ttl time.Duration) (*url.URL, error) {
	if s.settings.HasCustomerKey() {
		return nil, s3err.Errorf(s3err.Unsupported, "the location encrypts with a customer's key (SSE-C), which the holder of a URL would have to send as a header; velero backup logs, describe --details and download do not work with SSE-C")
	}
	if s.settings.Anonymous {
		return nil, s3err.Errorf(s3err.Unsupported, "the location is anonymous, and a URL is signed with credentials")
	}
	if err := s.requirePlain(ctx, bucket, key); err != nil {
		return nil, err
	}
	params := url.Values{}
	if s.settings.RequesterPays {
		params.Set("x-amz-request-payer", "requester")
	}
	return s.public.PresignedGetObject(ctx, bucket, key, ttl, params)
}

// requirePlain refuses an encrypted object.
func (s *Store) requirePlain(ctx context.Context, bucket, key string) error {
	if !s.keys.Decrypts() {
		return nil
	}
	object, encrypted, err := s.open(ctx, bucket, key)
	if err == nil {
		_ = object.Close()
	}
	switch {
	case encrypted:
		return s3err.Hinted(s3err.NotDecrypted, "use velero-plugin-longshore logs, describe and download, which decrypt",
			"the object is encrypted by the plugin, and whoever has a URL, such as the velero command, could not read it")
	case s3err.KindOf(err) == s3err.NotFound:
		return nil
	}
	return err
}
