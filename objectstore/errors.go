package objectstore

import "github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"

// Kind says what an error means, whatever the server called it.
type Kind = s3err.Kind

// Error is a failed operation. Its text stands alone and holds no secret.
type Error = s3err.Error

// The kinds of errors.
const (
	KindNotFound     = s3err.NotFound
	KindNoBucket     = s3err.NoBucket
	KindForbidden    = s3err.Forbidden
	KindCredentials  = s3err.Credentials
	KindExpired      = s3err.Expired
	KindRegion       = s3err.Region
	KindClock        = s3err.Clock
	KindTrust        = s3err.Trust
	KindTimeout      = s3err.Timeout
	KindUnreachable  = s3err.Unreachable
	KindThrottled    = s3err.Throttled
	KindServer       = s3err.Server
	KindFull         = s3err.Full
	KindLocked       = s3err.Locked
	KindArchived     = s3err.Archived
	KindChanged      = s3err.Changed
	KindNotS3        = s3err.NotS3
	KindUnsupported  = s3err.Unsupported
	KindNeedsMD5     = s3err.NeedsMD5
	KindNoUpload     = s3err.NoUpload
	KindCorrupt      = s3err.Corrupt
	KindNotConfirmed = s3err.NotConfirmed
	KindBody         = s3err.Body
	KindInvalid      = s3err.Invalid
	KindCanceled     = s3err.Canceled
	KindUnknown      = s3err.Unknown
)

const (
	opOpen   = s3err.OpOpen
	opPut    = s3err.OpPut
	opGet    = s3err.OpGet
	opExists = s3err.OpExists
	opList   = s3err.OpList
	opDelete = s3err.OpDelete
	opSign   = s3err.OpSign
)

// KindOf returns what err means, "" for nil.
func KindOf(err error) Kind { return s3err.KindOf(err) }

var (
	faultf    = s3err.Errorf
	classify  = s3err.KindOf
	causeText = s3err.Text
)

// failed turns err into the one error that leaves the package.
func (s *Store) failed(op, bucket, key string, err error) error {
	r := s3err.Reporter{
		Endpoint: s.endpoint.String(), Region: s.region, Credentials: s.identity.Advice(), Untrusted: s.settings.Trust().Rejected,
		ObjectLock: s.settings.ObjectLockMode != "", Secrets: s.secrets, Log: s.log,
	}
	return r.Failed(op, bucket, key, err)
}
