// Package client is minio-go for one location: its requests are made again as
// long as that makes sense, and it knows how to look at an object and at the
// bucket. Everything that moves bytes or lists stands on it.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// Options say what a client is for.
type Options struct {
	Account     *account.Settings
	Settings    *Settings
	Region      string
	Prefix      string // of the location's objects
	Credentials *credentials.Credentials
	Log         logrus.FieldLogger
	Report      *s3err.Reporter
	// Read is what requests that read an object carry.
	Read minio.GetObjectOptions
	// SignBodies is whether bodies are signed by their SHA-256.
	SignBodies bool
}

// Client makes requests to the storage of one location.
type Client struct {
	*minio.Core
	Options

	// SendMD5 is whether uploads carry a Content-MD5. It may be learned from the
	// storage.
	SendMD5 atomic.Bool
	// FirstPause is the first pause before a request is made again.
	FirstPause time.Duration

	locator *minio.Client
	http    http.RoundTripper
	worked  atomic.Bool // a request has succeeded: the storage is where it is looked for
}

// New returns the client for the location's endpoint. It sends nothing.
func New(ctx context.Context, o Options) (*Client, error) {
	c := &Client{Options: o, FirstPause: firstPause}
	c.http = wire.New(wire.Options{
		Account: o.Account, Limits: o.Settings.Limits(), Region: o.Region, Credentials: o.Credentials,
		Headers: o.Settings.headers(), SignBodies: o.SignBodies, Log: o.Log,
	})
	var err error
	if c.Core, err = c.connect(ctx, o.Account.Endpoint(), o.Credentials); err != nil {
		return nil, err
	}
	// minio-go says where a bucket is only by the address of a signed URL.
	locator, err := c.connect(ctx, o.Account.Endpoint(), credentials.NewStaticV4("locator", "any-key-of-14-bytes-or-more", ""))
	if err != nil {
		return nil, err
	}
	c.locator = locator.Client
	return c, nil
}

// Public returns a client that signs URLs for the public endpoint.
func (c *Client) Public(ctx context.Context) (*minio.Core, error) {
	if c.Account.PublicURL == "" {
		return c.Core, nil
	}
	return c.connect(ctx, c.Account.PublicEndpoint(), c.Credentials)
}

func (c *Client) connect(ctx context.Context, e account.Endpoint, creds *credentials.Credentials) (*minio.Core, error) {
	core, err := minio.NewCore(e.URL.Host, &minio.Options{
		Creds:        creds,
		Secure:       e.Secure(),
		Region:       c.Region,
		BucketLookup: e.Lookup,
		Transport:    c.http,
		MaxRetries:   1, // see retry.go
	})
	if err != nil {
		return nil, s3err.Errorf(s3err.Invalid, "%s: %w", e, err)
	}
	core.SetS3EnableDualstack(c.Account.DualStack)
	if c.Account.Accelerate {
		core.SetS3TransferAccelerate(accelerateHost(c.Account.DualStack))
	}
	return core, c.requireKnownRegion(ctx, core, e)
}

func accelerateHost(dualStack bool) string {
	if dualStack {
		return "s3-accelerate.dualstack.amazonaws.com"
	}
	return "s3-accelerate.amazonaws.com"
}

// requireKnownRegion makes sure that minio-go knows the AWS region: for one it
// does not know it silently goes to us-east-1.
func (c *Client) requireKnownRegion(ctx context.Context, core *minio.Core, e account.Endpoint) error {
	if !e.AWS() || c.Region == account.DefaultRegion || c.Account.Anonymous || c.Account.Accelerate {
		return nil
	}
	u, err := core.PresignedGetObject(ctx, "bucket", "key", time.Minute, nil)
	if err == nil && strings.Contains(u.Host, account.DefaultRegion) {
		return s3err.Errorf(s3err.Region, "region %q is not known to this version of the plugin; set s3Url to an endpoint outside amazonaws.com, or use a newer version", c.Region)
	}
	return err
}

// ReadOptions are the options of reading an object or its metadata.
func (c *Client) ReadOptions() minio.GetObjectOptions {
	o := minio.GetObjectOptions{ServerSideEncryption: c.Read.ServerSideEncryption}
	for name, values := range c.Read.Header() {
		o.Set(name, values[0])
	}
	return o
}

// Summary logs a finished operation. size is -1 where it has none.
func (c *Client) Summary(message, bucket, key string, size int64, begun time.Time, more logrus.Fields) {
	took := time.Since(begun)
	fields := logrus.Fields{"bucket": bucket, "duration": took.Round(time.Millisecond).String()}
	if key != "" {
		fields["key"] = key
	}
	if size >= 0 {
		fields["bytes"] = size
		fields["rate"] = fmt.Sprintf("%v/s", settings.Bytes(float64(size)/max(took.Seconds(), 1e-6))/settings.MiB*settings.MiB)
	}
	c.Log.WithFields(fields).WithFields(more).Info(message)
}

// Remove removes an object or one version of it. An object that is not there is
// no error; a bucket that is not there is one.
func (c *Client) Remove(ctx context.Context, bucket, key string, o minio.RemoveObjectOptions) error {
	err := c.Do(ctx, Brief, func(ctx context.Context) error {
		return succeeded(c.RemoveObject(ctx, bucket, key, o))
	})
	if s3err.KindOf(err) == s3err.NotFound {
		return nil
	}
	return err
}

// Abort ends a multipart upload and removes its parts.
func (c *Client) Abort(ctx context.Context, bucket, key, id string) error {
	return c.Do(ctx, Content, func(ctx context.Context) error {
		return succeeded(c.AbortMultipartUpload(ctx, bucket, key, id))
	})
}

// succeeded knows the servers that answer 200 where S3 answers 204. minio-go makes an
// error of it, whose code is the status unless the answer was S3's error document.
func succeeded(err error) error {
	var response minio.ErrorResponse
	if errors.As(err, &response) && response.StatusCode/100 == 2 && strings.HasPrefix(response.Code, "20") {
		return nil
	}
	return err
}
