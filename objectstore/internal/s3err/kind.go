// Package s3err gives the errors of an S3 storage their meaning and their text.
//
// A Kind says what an error means, and KindOf finds it. Errorf makes an error
// of a kind, Refusal one of an HTTP answer. A Reporter makes of any of them,
// once and at the edge, the Error that leaves: what was attempted and where,
// what was received, and what to do, in one line.
//
// No text that leaves holds a secret (Secrets, Secrets.Log), a control
// character or a page of foreign text (Clean).
package s3err

// Kind says what an error means, whatever the server called it.
type Kind string

// The kinds of errors. "not found" stands in one of them only: Velero takes a
// download for missing by these words (see missingWords).
const (
	Unknown      Kind = "failed"
	NotFound     Kind = "object not found"
	NoBucket     Kind = "bucket missing"
	Forbidden    Kind = "access denied"
	Credentials  Kind = "credentials refused"
	Expired      Kind = "credentials expired"
	Region       Kind = "wrong region"
	Clock        Kind = "clock skew"
	Trust        Kind = "certificate not trusted"
	TLS          Kind = "TLS failed"
	Timeout      Kind = "timed out"
	Unreachable  Kind = "storage not reachable"
	Throttled    Kind = "throttled by the storage"
	Server       Kind = "storage failed"
	Full         Kind = "storage full"
	Locked       Kind = "object locked"
	Archived     Kind = "object archived"
	Changed      Kind = "object changed"
	NotS3        Kind = "not an S3 endpoint"
	TooLarge     Kind = "request too large"
	Unsupported  Kind = "not supported by the storage"
	NeedsMD5     Kind = "Content-MD5 required"
	NoUpload     Kind = "multipart upload gone"
	Corrupt      Kind = "data damaged"
	NotDecrypted Kind = "not decrypted"
	NotConfirmed Kind = "not confirmed"
	Body         Kind = "source failed"
	Invalid      Kind = "not acceptable"
	Canceled     Kind = "canceled"
)
