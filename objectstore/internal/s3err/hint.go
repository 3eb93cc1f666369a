package s3err

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"
)

// permissions names what the credentials need for each operation.
var permissions = map[string]string{
	OpPut:    "s3:PutObject and s3:AbortMultipartUpload on the objects",
	OpGet:    "s3:GetObject on the objects",
	OpExists: "s3:GetObject on the objects and s3:ListBucket on the bucket (without the latter S3 answers 403 for a key that is not there)",
	OpList:   "s3:ListBucket on the bucket",
	OpDelete: "s3:DeleteObject on the objects",
}

var hints = map[Kind]string{
	NoBucket:     "create the bucket, or correct spec.objectStorage.bucket or s3Url",
	Credentials:  "check the access key and secret key in the location's credentials, and that they belong to this storage",
	Expired:      "the credentials were fetched again and are still refused; renew them",
	Clock:        "set the clock of the node that runs Velero",
	Unreachable:  "check s3Url, DNS, network policies and the proxy settings",
	Throttled:    "the storage asks to slow down; try again later, or lower uploadConcurrency",
	Full:         "free space in the storage, or raise its quota",
	Locked:       "the object is under retention or legal hold; wait until it ends, and keep objectLockRetention shorter than the backups' TTL",
	Changed:      "something else wrote the object meanwhile; try again",
	NotS3:        "s3Url must be the S3 API of the storage, not its console or another web server",
	Unsupported:  "the storage does not know this request; leave out the settings that ask for it",
	Corrupt:      "the data was damaged on the way; try again, and look at proxies between Velero and the storage",
	NotConfirmed: "do not rely on this object; try again",
}

// advice says what to do about e.
func (r *Reporter) advice(e *Error) string {
	switch e.Kind {
	case Forbidden:
		if need := permissions[e.Op]; need != "" {
			return "the credentials need " + need
		}
	case Region:
		return regionHint(e.Err, r.Region)
	case Trust:
		return trustHint(e.Err)
	case Unknown:
		if e.Op == OpPut && r.ObjectLock {
			return "objectLockMode needs a bucket that was created with object lock"
		}
	case Clock:
		return fmt.Sprintf("%s; here it is %s", hints[Clock], time.Now().UTC().Format(time.RFC3339))
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
