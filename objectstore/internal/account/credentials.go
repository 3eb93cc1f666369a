package account

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sirupsen/logrus"
)

const (
	// fetchTimeout bounds one fetch of credentials, over all its requests, and
	// renewTimeout one during which the former credentials still hold: requests
	// wait for it.
	fetchTimeout = 30 * time.Second
	renewTimeout = 5 * time.Second
	// renewBefore is how long before their end credentials are renewed. A signed
	// URL dies with the credentials that signed it, and Velero's live ten minutes.
	renewBefore = 12 * time.Minute
	// retryAfter is how long a fetch that failed is not tried again.
	retryAfter = time.Minute
)

// Identity says whose credentials are used, without the secret.
type Identity struct {
	Source    string // the provider that answered
	AccessKey string
	Expires   time.Time // zero for never
}

// Advice says what to do where the storage refuses the credentials, or is "" for
// keys that somebody wrote down.
func (i Identity) Advice() string {
	if i.Source == "" || strings.HasPrefix(i.Source, "SharedConfigCredentials") || strings.HasPrefix(i.Source, "EnvConfigCredentials") {
		return ""
	}
	return "the credentials are from " + i.Source + "; check the role or service behind it, and that this storage knows it"
}

// Credentials returns the credentials for the settings, or an error where there
// are none. It never falls back to anonymous requests. secrets learns each
// secret that they ever hold.
func Credentials(ctx context.Context, s *Settings, region string, secrets *s3err.Secrets, log logrus.FieldLogger) (*credentials.Credentials, Identity, error) {
	if s.Anonymous {
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous), Identity{Source: "anonymous"}, nil
	}
	p := &provider{sdk: sdk{settings: s, region: region, secrets: secrets, log: log}}
	creds := credentials.New(p)
	if _, err := creds.GetWithContext(&credentials.CredContext{Context: ctx}); err != nil {
		return nil, Identity{}, err
	}
	return creds, p.identity(), nil
}

// provider keeps the credentials that the SDK finds, and decides when they are
// fetched again. It is used behind credentials.Credentials, which lets in one
// caller at a time.
type provider struct {
	sdk
	current aws.Credentials
	fetched time.Time
	files   stamp     // of the files they are from
	looked  time.Time // when the files were last looked at
	changed bool      // and they were others

	failure    error // of the last fetch, if it failed
	failed     time.Time
	failedWith stamp
}

func (p *provider) identity() Identity {
	found := Identity{Source: p.current.Source, AccessKey: p.current.AccessKeyID}
	if p.current.CanExpire {
		found.Expires = p.current.Expires
	}
	return found
}

// Retrieve implements credentials.Provider.
func (p *provider) Retrieve() (credentials.Value, error) {
	return p.RetrieveWithCredContext(nil)
}

// RetrieveWithCredContext fetches the credentials again, files included. Where
// that fails and the former ones still hold, they are kept: a file is not whole
// while it is being written, and a service may be away.
func (p *provider) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	files := stampOf(p.paths())
	if p.waits(files) {
		return p.formerOr(p.failure)
	}
	ctx, cancel := p.bounded(cc)
	defer cancel()
	fetched, err := p.fetch(ctx)
	p.looked, p.changed = time.Now(), false
	if err != nil {
		if !ended(cc) { // a request that has ended says nothing to the others
			p.failure, p.failed, p.failedWith = err, time.Now(), files
		}
		if p.usable() {
			p.log.WithError(err).Warn("Could not fetch the credentials again, keeping the former ones")
		}
		return p.formerOr(err)
	}
	p.current, p.files, p.fetched, p.failure = fetched, files, time.Now(), nil
	return p.value(), nil
}

func (p *provider) bounded(cc *credentials.CredContext) (context.Context, context.CancelFunc) {
	ctx := context.Background()
	if cc != nil && cc.Context != nil {
		ctx = cc.Context
	}
	limit := fetchTimeout
	if p.usable() {
		limit = renewTimeout
	}
	return context.WithTimeoutCause(ctx, limit, s3err.Errorf(s3err.Timeout, "fetching the credentials took more than %v", limit))
}

// ended tells whether the request that needs credentials has ended.
func ended(cc *credentials.CredContext) bool {
	return cc != nil && cc.Context != nil && cc.Context.Err() != nil
}

// waits tells whether a fetch with these files has just failed.
func (p *provider) waits(files stamp) bool {
	return p.failure != nil && files == p.failedWith && time.Since(p.failed) < retryAfter
}

func (p *provider) usable() bool { return p.current.HasKeys() && !p.current.Expired() }

// formerOr returns the credentials from before the last fetch failed, or err.
func (p *provider) formerOr(err error) (credentials.Value, error) {
	if !p.usable() {
		return credentials.Value{}, err
	}
	return p.value(), nil
}

func (p *provider) value() credentials.Value {
	return credentials.Value{
		AccessKeyID:     p.current.AccessKeyID,
		SecretAccessKey: p.current.SecretAccessKey,
		SessionToken:    p.current.SessionToken,
		SignerType:      credentials.SignatureV4,
	}
}

// IsExpired tells whether the credentials are at their end or their files have
// changed. The files are looked at once a second at most.
func (p *provider) IsExpired() bool {
	if time.Since(p.looked) >= time.Second {
		files := stampOf(p.paths())
		p.looked, p.changed = time.Now(), files != p.files && !p.waits(files)
	}
	return !p.usable() || p.changed || p.current.CanExpire && p.nearEnd()
}

// nearEnd tells whether it is time to renew: renewBefore the end, or later for
// credentials that hardly live longer, and not again within a minute.
func (p *provider) nearEnd() bool {
	last := p.fetched
	if p.failure != nil {
		last = p.failed
	}
	lifetime := p.current.Expires.Sub(p.fetched)
	return time.Since(last) >= retryAfter && time.Until(p.current.Expires) < min(renewBefore, max(lifetime/5, time.Minute))
}
