package objectstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/upload"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
	"github.com/sirupsen/logrus"
)

// Diagnosis goes the way of Open in single steps, so that each can be told to a
// person. The steps are called in the order of the methods; the Store is whole
// after Connect.
//
// Its store is impatient: it repeats hardly anything. It uploads in the smallest
// parts there are, and locks nothing that it stores, so that it can be removed.
type Diagnosis struct {
	*Store
	versions bool // the storage has answered an upload with a version
}

// diagnosisAnswer is how long the storage may take to begin an answer.
const diagnosisAnswer = 20 * time.Second

// Diagnose reads the settings of a location.
func Diagnose(log logrus.FieldLogger, config map[string]string) (*Diagnosis, error) {
	parsed, err := parse(config)
	if err != nil {
		return nil, err
	}
	parsed.WriteProbe = false
	parsed.MaxRetries = min(parsed.MaxRetries, 1)
	parsed.RequestTimeout = min(parsed.RequestTimeout, diagnosisAnswer)
	parsed.PartSize = upload.MinPartSize
	parsed.ObjectLockMode, parsed.ObjectLockRetention, parsed.ObjectLockLegalHold = "", 0, false
	return &Diagnosis{Store: newStore(log, parsed, config)}, nil
}

// Encrypts tells whether the plugin encrypts what it writes. It is known after
// FindKeys.
func (d *Diagnosis) Encrypts() bool { return d.keys.Encrypts() }

// PartSize is the size of the parts of the diagnosis's uploads, in bytes.
func (d *Diagnosis) PartSize() int { return int(upload.MinPartSize) }

// Settings are the settings in effect, but for what a diagnosis does otherwise.
func (d *Diagnosis) Settings() Settings { return d.settings }

// Endpoint is where requests go.
func (d *Diagnosis) Endpoint() url.URL { return d.settings.Endpoint().URL }

// Proxy returns the proxy by which the storage is reached, without its password,
// or "".
func (d *Diagnosis) Proxy() (*url.URL, error) {
	proxy, endpoint := d.settings.Proxy(), d.Endpoint()
	if proxy == nil {
		return nil, nil
	}
	u, err := proxy(&http.Request{URL: &endpoint})
	if u == nil || err != nil {
		return nil, err
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// Resolve looks the addresses of a host up.
func (d *Diagnosis) Resolve(ctx context.Context, host string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, wire.DialTimeout)
	defer cancel()
	return net.DefaultResolver.LookupHost(ctx, host)
}

// Greeting is the first answer of a server.
type Greeting struct {
	Server string // what it calls itself
	TLS    *tls.ConnectionState
	Clock  time.Time // the server's, zero if it does not say
}

// Greet connects to the storage as every request will, proxy included, and asks
// for nothing in particular.
func (d *Diagnosis) Greet(ctx context.Context) (Greeting, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, diagnosisAnswer, s3err.Errorf(s3err.Timeout, "no answer in %v", diagnosisAnswer))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.settings.Endpoint().String()+"/", nil)
	if err != nil {
		return Greeting{}, err
	}
	resp, err := wire.Bare(&d.settings.Account, d.settings.Limits()).RoundTrip(req)
	if err != nil {
		return Greeting{}, d.failed(s3err.OpOpen, d.settings.Bucket, "", err)
	}
	defer resp.Body.Close()
	clock, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		clock = time.Time{}
	}
	return Greeting{Server: resp.Header.Get("Server"), TLS: resp.TLS, Clock: clock}, nil
}

// Address is where an object of the location lies, without a signature.
func (d *Diagnosis) Address(ctx context.Context, key string) (*url.URL, error) {
	u, err := d.client.PresignedGetObject(ctx, d.settings.Bucket, key, minTTL, nil)
	if err != nil {
		return nil, d.failed(s3err.OpSign, d.settings.Bucket, key, err)
	}
	u.RawQuery = ""
	return u, nil
}

// LookAtBucket fails unless the bucket is there. Credentials that may not list
// it get the benefit of the doubt.
func (d *Diagnosis) LookAtBucket(ctx context.Context) error {
	if err := d.client.RequireBucket(ctx, d.settings.Bucket); err != nil {
		return d.failed(s3err.OpOpen, d.settings.Bucket, "", err)
	}
	return nil
}

// GetRange reads length bytes of an object from offset on, as a download does
// that goes on after its connection broke.
func (d *Diagnosis) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	options := d.client.ReadOptions()
	if err := options.SetRange(offset, offset+length-1); err != nil {
		return nil, err
	}
	var data []byte
	err := d.client.Do(ctx, client.Content, func(ctx context.Context) error {
		body, _, header, err := d.client.GetObject(wire.ExpectObject(ctx), d.settings.Bucket, key, options)
		if err != nil {
			return err
		}
		defer body.Close()
		if header.Get("Content-Range") == "" {
			return s3err.Errorf(s3err.Unsupported, "a range was asked for, and the whole object came")
		}
		data, err = io.ReadAll(io.LimitReader(body, length+1))
		return err
	})
	if err != nil {
		return nil, d.failed(s3err.OpGet, d.settings.Bucket, key, err)
	}
	return data, nil
}

// Fetch gets what a signed URL gives, as the velero CLI does, and returns at
// most limit bytes of it.
func (d *Diagnosis) Fetch(ctx context.Context, signed string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, signed, nil)
	if err != nil {
		return nil, errors.New("the signed URL is no URL")
	}
	resp, err := wire.Bare(&d.settings.Account, d.settings.Limits()).RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("fetch a signed URL from %s: %s", req.URL.Host, d.secrets.Redact(s3err.Text(err)))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("fetch a signed URL from %s: %s", req.URL.Host, d.secrets.Redact(s3err.Quote(resp, data)))
	}
	return data, err
}

// Explain takes the text of an error apart: what happened, and what to do.
func (d *Diagnosis) Explain(err error) (what, hint string) {
	var e *s3err.Error
	if !errors.As(err, &e) {
		return d.secrets.Redact(err.Error()), ""
	}
	return e.What(), e.Hint()
}

// PutObject stores body as the Store does, and notes whether the bucket keeps versions.
func (d *Diagnosis) PutObject(ctx context.Context, bucket, key string, body io.Reader) error {
	stored, err := d.put(ctx, bucket, key, body)
	if err != nil {
		return d.failed(s3err.OpPut, bucket, key, err)
	}
	d.versions = d.versions || stored.Version != ""
	return nil
}

// KeepsVersions tells whether the bucket keeps versions, by what its answers to
// uploads said: that needs no permission.
func (d *Diagnosis) KeepsVersions() bool { return d.versions }

// RemoveVersions removes every version and delete marker of a key, and returns
// how many there were.
func (d *Diagnosis) RemoveVersions(ctx context.Context, key string) (int, error) {
	n, err := d.deleteVersions(ctx, d.settings.Bucket, key)
	if err != nil {
		return 0, d.failed(s3err.OpDeleteVersions, d.settings.Bucket, key, err)
	}
	return n, nil
}
