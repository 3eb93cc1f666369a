package s3err

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"
)

// KindOf returns what err means, "" for nil. It never looks at a text, except
// where S3 puts the reason nowhere else (see refusalKind).
func KindOf(err error) Kind {
	var done *Error
	var f *fault
	var response minio.ErrorResponse
	switch {
	case err == nil:
		return ""
	case errors.As(err, &done):
		return done.Kind
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
		return Trust
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNREFUSED), isNetwork(err):
		return Unreachable
	}
	return Unknown
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
	"NoSuchKey":     NotFound,
	"NoSuchVersion": NotFound,
	"NotFound":      NotFound,

	"NoSuchBucket":      NoBucket,
	"InvalidBucketName": Invalid,
	"KeyTooLongError":   Invalid,

	"AccessDenied":                       Forbidden,
	"AllAccessDisabled":                  Forbidden,
	"AccountProblem":                     Forbidden,
	"MethodNotAllowed":                   Unsupported,
	"NotImplemented":                     Unsupported,
	"XNotImplemented":                    Unsupported,
	"UnsupportedHeader":                  Unsupported,
	"InvalidLocation":                    Region,
	"PermanentRedirect":                  Region,
	"TemporaryRedirect":                  Region,
	"InvalidRegion":                      Region,
	"IllegalLocationConstraintException": Region,

	"InvalidAccessKeyId":          Credentials,
	"SignatureDoesNotMatch":       Credentials,
	"InvalidSecurity":             Credentials,
	"XAdminUserNotFound":          Credentials,
	"NotSignedUp":                 Credentials,
	"UnrecognizedClientException": Credentials,
	"InvalidTokenId":              Credentials,

	"ExpiredToken":          Expired,
	"ExpiredTokenException": Expired,
	"InvalidToken":          Expired,
	"TokenRefreshRequired":  Expired,
	"RequestExpired":        Expired,

	"RequestTimeTooSkewed": Clock,
	"RequestInTheFuture":   Clock,

	"SlowDown":             Throttled,
	"SlowDownRead":         Throttled,
	"SlowDownWrite":        Throttled,
	"Throttling":           Throttled,
	"ThrottlingException":  Throttled,
	"RequestLimitExceeded": Throttled,
	"RequestThrottled":     Throttled,
	"TooManyRequests":      Throttled,
	"Busy":                 Throttled,

	"InternalError":              Server,
	"ServiceUnavailable":         Server,
	"RequestTimeout":             Server,
	"OperationAborted":           Server,
	"XMinioServerNotInitialized": Server,

	"XMinioStorageFull":              Full,
	"QuotaExceeded":                  Full,
	"InsufficientCapacity":           Full,
	"XMinioAdminBucketQuotaExceeded": Full,

	"ObjectLocked":       Locked,
	"InvalidObjectState": Locked,

	"PreconditionFailed": Changed,
	"InvalidRange":       Changed,

	"MissingContentMD5":           NeedsMD5,
	"NoSuchUpload":                NoUpload,
	"BadDigest":                   Corrupt,
	"InvalidDigest":               Corrupt,
	"XAmzContentSHA256Mismatch":   Corrupt,
	"XAmzContentChecksumMismatch": Corrupt,
	"IncompleteBody":              Corrupt,
}

// statusKinds is asked when the code says nothing.
var statusKinds = map[int]Kind{
	http.StatusMovedPermanently:    Region,
	http.StatusTemporaryRedirect:   Region,
	http.StatusPermanentRedirect:   Region,
	http.StatusUnauthorized:        Credentials,
	http.StatusForbidden:           Forbidden,
	http.StatusRequestTimeout:      Server,
	http.StatusPreconditionFailed:  Changed,
	http.StatusLocked:              Locked,
	http.StatusTooManyRequests:     Throttled,
	499:                            Server, // nginx: the client closed the request
	http.StatusNotImplemented:      Unsupported,
	http.StatusServiceUnavailable:  Throttled,
	http.StatusInsufficientStorage: Full,
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
		return Server
	}
	return Unknown
}

// refusalKind tells apart the refusals for which S3 has one code only and puts
// the reason into the message: Amazon S3 says AccessDenied for a locked object
// and InvalidRequest for a missing Content-MD5.
func refusalKind(r minio.ErrorResponse) Kind {
	message := strings.ToLower(r.Message)
	switch {
	case r.Code == "AuthorizationHeaderMalformed" && r.Region != "":
		return Region
	case r.Code == "AuthorizationHeaderMalformed":
		return Credentials
	case r.Code == "InvalidRequest" && strings.Contains(message, "content-md5"):
		return NeedsMD5
	case r.Code == "InvalidRequest" && strings.Contains(message, "bucket is missing object"):
		return Unsupported // it was created without object lock
	case (r.Code == "AccessDenied" || r.Code == "InvalidRequest") && (strings.Contains(message, "worm") || strings.Contains(message, "object lock")):
		return Locked
	}
	return ""
}
