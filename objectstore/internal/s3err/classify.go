package s3err

import (
	"errors"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
)

// KindOf returns what err means, "" for nil. It never looks at a text, except
// where the reason stands nowhere else (see refusalKind and isTLS).
func KindOf(err error) Kind {
	var done *Error
	var f *fault
	switch {
	case err == nil:
		return ""
	case errors.As(err, &done):
		return done.Kind
	case errors.As(err, &f):
		return f.kind
	}
	if a := answerIn(err); a != nil {
		return a.kind()
	}
	return wireKind(err)
}

// CodeOf returns the code of the error document that err is from, or "".
func CodeOf(err error) string {
	if a := answerIn(err); a != nil {
		return a.Code
	}
	return ""
}

// answerIn returns the storage's answer that err is from, or nil.
func answerIn(err error) *Answer {
	var answer *Answer
	var response minio.ErrorResponse
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &response):
		return answerOf(response)
	}
	return nil
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
	"InvalidObjectState": Archived,

	"PreconditionFailed":         Changed,
	"ConditionalRequestConflict": Changed,
	"InvalidRange":               Changed,

	"MissingContentMD5":           NeedsMD5,
	"NoSuchUpload":                NoUpload,
	"BadDigest":                   Corrupt,
	"InvalidDigest":               Corrupt,
	"XAmzContentSHA256Mismatch":   Corrupt,
	"XAmzContentChecksumMismatch": Corrupt,
	"IncompleteBody":              Corrupt,

	"EntityTooLarge": Invalid,
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

func (a *Answer) kind() Kind {
	if kind := a.refusalKind(); kind != "" {
		return kind
	}
	if kind, ok := codeKinds[a.Code]; ok {
		return kind
	}
	if a.Status == http.StatusNotFound && a.Code == "" {
		return NotFound
	}
	return statusKind(a.Status)
}

func statusKind(status int) Kind {
	if kind, ok := statusKinds[status]; ok {
		return kind
	}
	if status >= 500 {
		return Server
	}
	return Unknown
}

// refusalKind tells apart the refusals for which S3 has one code only and puts
// the reason into the message: Amazon S3 says AccessDenied for a locked object
// and InvalidRequest for a missing Content-MD5.
func (a *Answer) refusalKind() Kind {
	message := strings.ToLower(a.Message)
	switch {
	case a.Code == "AuthorizationHeaderMalformed" && a.Region != "":
		return Region
	case a.Code == "AuthorizationHeaderMalformed":
		return Credentials
	case a.Code == "InvalidRequest" && strings.Contains(message, "content-md5"):
		return NeedsMD5
	case a.Code == "InvalidRequest" && strings.Contains(message, "bucket is missing object"):
		return Unsupported // it was created without object lock
	case (a.Code == "AccessDenied" || a.Code == "InvalidRequest") && (strings.Contains(message, "worm") || strings.Contains(message, "object lock")):
		return Locked
	case a.Code == "" && a.Status == http.StatusBadRequest && a.Region != "":
		return Region // HEAD of a bucket elsewhere
	}
	return ""
}
