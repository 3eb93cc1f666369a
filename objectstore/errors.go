package objectstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"
)

// Kind says what an error means, whatever the server called it.
type Kind string

// The kinds of errors.
const (
	KindUnknown      Kind = "failed"
	KindNotFound     Kind = "object not found"
	KindNoBucket     Kind = "bucket not found"
	KindForbidden    Kind = "access denied"
	KindCredentials  Kind = "credentials refused"
	KindExpired      Kind = "credentials expired"
	KindRegion       Kind = "wrong region"
	KindClock        Kind = "clock skew"
	KindTrust        Kind = "certificate not trusted"
	KindTimeout      Kind = "timed out"
	KindUnreachable  Kind = "storage not reachable"
	KindThrottled    Kind = "throttled by the storage"
	KindServer       Kind = "storage failed"
	KindFull         Kind = "storage full"
	KindLocked       Kind = "object locked"
	KindChanged      Kind = "object changed"
	KindNotS3        Kind = "not an S3 endpoint"
	KindUnsupported  Kind = "not supported by the storage"
	KindNeedsMD5     Kind = "Content-MD5 required"
	KindNoUpload     Kind = "multipart upload not found"
	KindCorrupt      Kind = "data damaged"
	KindNotConfirmed Kind = "not confirmed"
	KindBody         Kind = "source failed"
	KindInvalid      Kind = "not acceptable"
	KindCanceled     Kind = "canceled"
)

// Error is a failed operation. Its text stands alone and holds no secret.
type Error struct {
	// Op says what was attempted, "put object".
	Op string
	// Bucket, Key and Endpoint say where; Key may be empty.
	Bucket, Key, Endpoint string
	// Kind says what it means.
	Kind Kind
	// Err is the cause.
	Err error

	text string
}

// Error returns operation, place, meaning, the server's answer and what to do.
func (e *Error) Error() string { return e.text }

// GoString is the text: the fields hold the server's answer as it came.
func (e *Error) GoString() string { return e.text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the operation that failed with err, KindUnknown
// for any other error, and "" for nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	}
	return KindUnknown
}

// fault is an error of our own making that knows its kind.
type fault struct {
	kind Kind
	text string
	err  error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.err }

func faultf(kind Kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &fault{kind: kind, text: err.Error(), err: errors.Unwrap(err)}
}

// classify is the one place where an error gets its meaning. It never looks at
// a text, except where S3 puts the reason nowhere else (see refusalKind).
func classify(err error) Kind {
	var f *fault
	var response minio.ErrorResponse
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return f.kind
	case errors.As(err, &response):
		return responseKind(response)
	}
	return wireKind(err)
}

// wireKind classifies what kept a request from being answered.
func wireKind(err error) Kind {
	var timeout net.Error
	switch {
	case isTrust(err):
		return KindTrust
	case errors.Is(err, context.Canceled):
		return KindCanceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return KindTimeout
	case errors.Is(err, syscall.ECONNREFUSED), isNetwork(err):
		return KindUnreachable
	}
	return KindUnknown
}

func isTrust(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &record)
}

func isNetwork(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) || errors.As(err, &dns)
}

// codeKinds gives the meaning of S3 error codes, of AWS and of the servers that
// invented their own.
var codeKinds = map[string]Kind{
	"NoSuchKey":     KindNotFound,
	"NoSuchVersion": KindNotFound,
	"NotFound":      KindNotFound,

	"NoSuchBucket":      KindNoBucket,
	"InvalidBucketName": KindInvalid,
	"KeyTooLongError":   KindInvalid,

	"AccessDenied":                       KindForbidden,
	"AllAccessDisabled":                  KindForbidden,
	"AccountProblem":                     KindForbidden,
	"MethodNotAllowed":                   KindUnsupported,
	"NotImplemented":                     KindUnsupported,
	"XNotImplemented":                    KindUnsupported,
	"UnsupportedHeader":                  KindUnsupported,
	"InvalidLocation":                    KindRegion,
	"PermanentRedirect":                  KindRegion,
	"TemporaryRedirect":                  KindRegion,
	"InvalidRegion":                      KindRegion,
	"IllegalLocationConstraintException": KindRegion,

	"InvalidAccessKeyId":          KindCredentials,
	"SignatureDoesNotMatch":       KindCredentials,
	"InvalidSecurity":             KindCredentials,
	"XAdminUserNotFound":          KindCredentials,
	"NotSignedUp":                 KindCredentials,
	"UnrecognizedClientException": KindCredentials,
	"InvalidTokenId":              KindCredentials,

	"ExpiredToken":          KindExpired,
	"ExpiredTokenException": KindExpired,
	"InvalidToken":          KindExpired,
	"TokenRefreshRequired":  KindExpired,
	"RequestExpired":        KindExpired,

	"RequestTimeTooSkewed": KindClock,
	"RequestInTheFuture":   KindClock,

	"SlowDown":             KindThrottled,
	"SlowDownRead":         KindThrottled,
	"SlowDownWrite":        KindThrottled,
	"Throttling":           KindThrottled,
	"ThrottlingException":  KindThrottled,
	"RequestLimitExceeded": KindThrottled,
	"RequestThrottled":     KindThrottled,
	"TooManyRequests":      KindThrottled,
	"Busy":                 KindThrottled,

	"InternalError":              KindServer,
	"ServiceUnavailable":         KindServer,
	"RequestTimeout":             KindServer,
	"OperationAborted":           KindServer,
	"XMinioServerNotInitialized": KindServer,

	"XMinioStorageFull":              KindFull,
	"QuotaExceeded":                  KindFull,
	"InsufficientCapacity":           KindFull,
	"XMinioAdminBucketQuotaExceeded": KindFull,

	"ObjectLocked":       KindLocked,
	"InvalidObjectState": KindLocked,

	"PreconditionFailed": KindChanged,
	"InvalidRange":       KindChanged,

	"MissingContentMD5":           KindNeedsMD5,
	"NoSuchUpload":                KindNoUpload,
	"BadDigest":                   KindCorrupt,
	"InvalidDigest":               KindCorrupt,
	"XAmzContentSHA256Mismatch":   KindCorrupt,
	"XAmzContentChecksumMismatch": KindCorrupt,
	"IncompleteBody":              KindCorrupt,
}

// statusKinds is asked when the code says nothing.
var statusKinds = map[int]Kind{
	http.StatusMovedPermanently:    KindRegion,
	http.StatusTemporaryRedirect:   KindRegion,
	http.StatusPermanentRedirect:   KindRegion,
	http.StatusUnauthorized:        KindCredentials,
	http.StatusForbidden:           KindForbidden,
	http.StatusRequestTimeout:      KindServer,
	http.StatusPreconditionFailed:  KindChanged,
	http.StatusLocked:              KindLocked,
	http.StatusTooManyRequests:     KindThrottled,
	499:                            KindServer, // nginx: the client closed the request
	http.StatusNotImplemented:      KindUnsupported,
	http.StatusServiceUnavailable:  KindThrottled,
	http.StatusInsufficientStorage: KindFull,
}

func responseKind(r minio.ErrorResponse) Kind {
	if kind := refusalKind(r); kind != "" {
		return kind
	}
	if kind, ok := codeKinds[r.Code]; ok {
		return kind
	}
	if kind, ok := statusKinds[r.StatusCode]; ok {
		return kind
	}
	if r.StatusCode >= 500 {
		return KindServer
	}
	return KindUnknown
}

// refusalKind tells apart the refusals for which S3 has one code only and puts
// the reason into the message: Amazon S3 says AccessDenied for a locked object
// and InvalidRequest for a missing Content-MD5.
func refusalKind(r minio.ErrorResponse) Kind {
	message := strings.ToLower(r.Message)
	switch {
	case r.Code == "AuthorizationHeaderMalformed" && r.Region != "":
		return KindRegion
	case r.Code == "AuthorizationHeaderMalformed":
		return KindCredentials
	case r.Code == "InvalidRequest" && strings.Contains(message, "content-md5"):
		return KindNeedsMD5
	case r.Code == "InvalidRequest" && strings.Contains(message, "bucket is missing object"):
		return KindUnsupported // it was created without object lock
	case (r.Code == "AccessDenied" || r.Code == "InvalidRequest") && (strings.Contains(message, "worm") || strings.Contains(message, "object lock")):
		return KindLocked
	}
	return ""
}
