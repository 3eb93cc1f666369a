package objectstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// failed turns err into the one error that leaves the package.
func (s *Store) failed(op, bucket, key string, err error) error {
	var done *Error
	if errors.As(err, &done) {
		return done
	}
	e := &Error{Op: op, Bucket: bucket, Key: key, Endpoint: s.endpoint.String(), Kind: classify(err), Err: err}
	e.text = s.secrets.scrub(e.describe())
	if hint := s.hint(e); hint != "" {
		e.text += "; " + hint
	}
	s.log.WithField("error", e.text).Debug("Operation failed")
	return e
}

// describe says what happened, without advice.
func (e *Error) describe() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Key != "" {
		fmt.Fprintf(&b, " %q", e.Key)
	}
	fmt.Fprintf(&b, " in bucket %q at %s: ", e.Bucket, e.Endpoint)
	if e.Kind != KindUnknown {
		fmt.Fprintf(&b, "%s: ", e.Kind)
	}
	b.WriteString(causeText(e.Err))
	return b.String()
}

// causeText is the text of err, with the server's own answer in full and
// without the URL that net/http puts before its errors: it may hold a signature.
func causeText(err error) string {
	var response minio.ErrorResponse
	if errors.As(err, &response) {
		return strings.Replace(err.Error(), response.Error(), answerText(response), 1)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return strings.Replace(err.Error(), u.Error(), u.Err.Error(), 1)
	}
	return err.Error()
}

func answerText(r minio.ErrorResponse) string {
	var parts []string
	if r.StatusCode != 0 && !strings.HasPrefix(r.Code, fmt.Sprint(r.StatusCode)) {
		parts = append(parts, fmt.Sprint("HTTP ", r.StatusCode))
	}
	if r.RequestID != "" {
		parts = append(parts, "request "+r.RequestID)
	}
	text := "the storage answered " + r.Code
	if message := plainText(r.Error()); message != "" && message != r.Code {
		text += ": " + message
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// plainText makes an answer that may be a page fit for one line.
func plainText(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if strings.HasPrefix(text, "<") {
		return "a page, not an S3 answer"
	}
	const limit = 300
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + ellipsis
	}
	return strings.TrimSuffix(text, ".")
}

// permissions names what the credentials need for each operation.
var permissions = map[string]string{
	opPut:    "s3:PutObject and s3:AbortMultipartUpload on the objects",
	opGet:    "s3:GetObject on the objects",
	opExists: "s3:GetObject on the objects and s3:ListBucket on the bucket (without the latter S3 answers 403 for a key that is not there)",
	opList:   "s3:ListBucket on the bucket",
	opDelete: "s3:DeleteObject on the objects",
}

var hints = map[Kind]string{
	KindNoBucket:     "create the bucket, or correct spec.objectStorage.bucket or s3Url",
	KindCredentials:  "check the access key and secret key in the location's credentials, and that they belong to this storage",
	KindExpired:      "the credentials were fetched again and are still refused; renew them",
	KindClock:        "set the clock of the node that runs Velero",
	KindUnreachable:  "check s3Url, DNS, network policies and the proxy settings",
	KindThrottled:    "the storage asks to slow down; try again later, or lower uploadConcurrency",
	KindFull:         "free space in the storage, or raise its quota",
	KindLocked:       "the object is under retention or legal hold; wait until it ends, and keep objectLockRetention shorter than the backups' TTL",
	KindChanged:      "something else wrote the object meanwhile; try again",
	KindNotS3:        "s3Url must be the S3 API of the storage, not its console or another web server",
	KindUnsupported:  "the storage does not know this request; leave out the settings that ask for it",
	KindCorrupt:      "the data was damaged on the way; try again, and look at proxies between Velero and the storage",
	KindNotConfirmed: "do not rely on this object; try again",
}

// hint says what to do about e.
func (s *Store) hint(e *Error) string {
	switch e.Kind {
	case KindForbidden:
		if need := permissions[e.Op]; need != "" {
			return "the credentials need " + need
		}
	case KindRegion:
		return regionHint(e.Err, s.region)
	case KindTrust:
		return trustHint(e.Err)
	case KindUnknown:
		if e.Op == opPut && s.settings.ObjectLockMode != "" {
			return "objectLockMode needs a bucket that was created with object lock"
		}
	case KindClock:
		return fmt.Sprintf("%s; here it is %s", hints[KindClock], time.Now().UTC().Format(time.RFC3339))
	}
	return hints[e.Kind]
}

func regionHint(err error, used string) string {
	var response minio.ErrorResponse
	if errors.As(err, &response) && response.Region != "" {
		return fmt.Sprintf("set region: %s in the location's config; %q was used", response.Region, used)
	}
	return fmt.Sprintf("set the bucket's region in the location's config; %q was used", used)
}

func trustHint(err error) string {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return "the storage may not speak TLS on this port; check the scheme and port of s3Url"
	}
	return "put the certificate of the CA into spec.objectStorage.caCert, or make the certificate valid for this host"
}
