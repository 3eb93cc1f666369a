// Package wire is the way of a request from minio-go to the storage and back:
// transport, limits of time, checks and bounds of answers, request log.
//
// From the outside in: every answer is looked at and bounded, errors of the
// network say more, requests get the headers that minio-go does not know and are
// logged, and each is ended when it makes no progress.
package wire

import (
	"net/http"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/account"
)

// Limits bound how long a request may take.
type Limits struct {
	// Answer is how long an answer may take to begin, and again to be whole
	// where it is no object.
	Answer time.Duration
	// Stall is how long a transfer may make no progress.
	Stall time.Duration
}

// Options say how the requests of a location are made.
type Options struct {
	Account     *account.Settings
	Limits      Limits
	Region      string
	Credentials *credentials.Credentials
	// Headers belong on every request.
	Headers map[string]string
	// SignBodies is whether bodies are signed by their SHA-256.
	SignBodies bool
	Log        logrus.FieldLogger
}

// New returns the way of the requests of a location.
func New(o Options) http.RoundTripper {
	var t http.RoundTripper = newProgress(o.Account, o.Limits, o.Log)
	t = requestLog{next: t, log: o.Log, used: &used}
	t = amend{next: t, creds: o.Credentials, region: o.Region, headers: o.Headers, bodies: o.SignBodies}
	t = netErrors{next: t}
	return answers{next: t, limit: o.Limits.Answer}
}

// Bare returns the way of requests that are not to an S3 API, or not signed: it
// says what went wrong, and no more.
func Bare(s *account.Settings, l Limits) http.RoundTripper {
	return netErrors{next: newProgress(s, l, nil)}
}
