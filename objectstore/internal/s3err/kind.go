// Package s3err gives the errors of an S3 storage their meaning and their text.
//
// A Kind says what an error means. KindOf finds it; Errorf makes an error that
// has one. A Reporter makes of it, once and at the edge, the Error that leaves:
// what was attempted and where, what the storage answered, and what to do, in
// one line, without a secret.
package s3err

// Kind says what an error means, whatever the server called it.
type Kind string

// The kinds of errors.
const (
	Unknown      Kind = "failed"
	NotFound     Kind = "object not found"
	NoBucket     Kind = "bucket not found"
	Forbidden    Kind = "access denied"
	Credentials  Kind = "credentials refused"
	Expired      Kind = "credentials expired"
	Region       Kind = "wrong region"
	Clock        Kind = "clock skew"
	Trust        Kind = "certificate not trusted"
	Timeout      Kind = "timed out"
	Unreachable  Kind = "storage not reachable"
	Throttled    Kind = "throttled by the storage"
	Server       Kind = "storage failed"
	Full         Kind = "storage full"
	Locked       Kind = "object locked"
	Changed      Kind = "object changed"
	NotS3        Kind = "not an S3 endpoint"
	Unsupported  Kind = "not supported by the storage"
	NeedsMD5     Kind = "Content-MD5 required"
	NoUpload     Kind = "multipart upload not found"
	Corrupt      Kind = "data damaged"
	NotConfirmed Kind = "not confirmed"
	Body         Kind = "source failed"
	Invalid      Kind = "not acceptable"
	Canceled     Kind = "canceled"
)
