package client

import (
	"math"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/wire"
)

// Settings are the keys of a location's config that are about requests.
type Settings struct {
	RequestTimeout      time.Duration `key:"requestTimeout" help:"How long the storage may take to begin its answer, and again to finish it where it is no object."`
	StallTimeout        time.Duration `key:"stallTimeout" help:"How long a transfer may make no progress."`
	RetryTimeout        time.Duration `key:"retryTimeout" help:"How long a request that carries an object, completes, proves or aborts an upload goes on being repeated when it fails for a passing reason, with pauses of up to 8s, and of up to 30s when the storage asks to slow down. Listing, looking, deleting and opening are not begun again after 30s, since Velero looks at its locations one after another; what is under way then may still take requestTimeout to begin its answer and as long again to finish it."`
	MaxRetries          int           `key:"maxRetries" help:"How often such a request is repeated at most. Without it only time counts."`
	ListObjectsVersion  string        `key:"listObjectsVersion" oneof:"auto,1,2" help:"Which S3 call lists objects. auto: the second, and the first where a server does not know the second."`
	RequesterPays       bool          `key:"requesterPays" help:"Say on every request that the requester pays."`
	ExpectedBucketOwner string        `key:"expectedBucketOwner" help:"AWS account that must own the bucket, or requests fail."`
}

// unlimited is MaxRetries where the config does not set it.
const unlimited = math.MaxInt

// Default returns the settings that hold where a location says nothing.
func Default() Settings {
	return Settings{RequestTimeout: time.Minute, StallTimeout: 2 * time.Minute, RetryTimeout: 5 * time.Minute, ListObjectsVersion: "auto"}
}

// CountRetries makes MaxRetries count, or not where the config does not set it.
func (s *Settings) CountRetries(set bool) {
	if !set {
		s.MaxRetries = unlimited
	}
}

// Limits are those of a request's time.
func (s *Settings) Limits() wire.Limits {
	return wire.Limits{Answer: s.RequestTimeout, Stall: s.StallTimeout}
}

// headers belong on every request.
func (s *Settings) headers() map[string]string {
	headers := map[string]string{}
	if s.RequesterPays {
		headers["X-Amz-Request-Payer"] = "requester"
	}
	if s.ExpectedBucketOwner != "" {
		headers["X-Amz-Expected-Bucket-Owner"] = s.ExpectedBucketOwner
	}
	return headers
}

// Validate adds what is wrong to p.
func (s *Settings) Validate(p *settings.Problems) {
	if s.ExpectedBucketOwner != "" && !isAccount(s.ExpectedBucketOwner) {
		p.Add("expectedBucketOwner", s.ExpectedBucketOwner, "the 12 digits of an AWS account, in quotes")
	}
	if s.MaxRetries < 0 || s.MaxRetries > 1000 {
		p.Addf("maxRetries: %d is not accepted; it takes a number from 0 to 1000", s.MaxRetries)
	}
	checkWait(p, "requestTimeout", s.RequestTimeout)
	checkWait(p, "stallTimeout", s.StallTimeout)
	checkWait(p, "retryTimeout", s.RetryTimeout)
}

func isAccount(text string) bool {
	return len(text) == 12 && strings.Trim(text, "0123456789") == ""
}

func checkWait(p *settings.Problems, key string, value time.Duration) {
	if value < time.Second || value > time.Hour {
		p.Add(key, value.String(), "a duration from 1s to 1h")
	}
}
