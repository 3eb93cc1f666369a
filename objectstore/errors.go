package objectstore

import "github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"

// Kind says what an error means, whatever the server called it.
type Kind = s3err.Kind

// Kinds that others tell apart.
const (
	KindForbidden    = s3err.Forbidden
	KindUnsupported  = s3err.Unsupported
	KindNotFound     = s3err.NotFound
	KindCorrupt      = s3err.Corrupt
	KindNotDecrypted = s3err.NotDecrypted
	KindChanged      = s3err.Changed
	KindArchived     = s3err.Archived
	KindLocked       = s3err.Locked
	KindUnknown      = s3err.Unknown
)

// KindOf returns what err means, "" for nil.
func KindOf(err error) Kind { return s3err.KindOf(err) }
