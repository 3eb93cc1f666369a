package s3err

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// permissions names what the credentials need for each operation.
var permissions = map[string]string{
	OpPut:    "s3:PutObject and s3:AbortMultipartUpload on the objects",
	OpGet:    "s3:GetObject on the objects",
	OpExists: "s3:GetObject on the objects and s3:ListBucket on the bucket (without the latter S3 answers 403 for a key that is not there)",
	OpList:   "s3:ListBucket on the bucket",
	OpDelete: "s3:DeleteObject on the objects",
	OpRewrap: "s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on the objects",

	OpDeleteVersion:  "s3:DeleteObjectVersion on the objects",
	OpDeleteVersions: "s3:ListBucketVersions on the bucket and s3:DeleteObjectVersion on the objects",
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
	Archived:     "the object is in an archive class; restore it in the storage first, and keep lifecycle rules from moving backups there",
	Changed:      "something else wrote the object meanwhile; try again",
	NotS3:        "s3Url must be the S3 API of the storage, not its console or another web server",
	TooLarge:     tooLarge,
	Unsupported:  "the storage does not know this request; leave out the settings that ask for it",
	Corrupt:      "the data was damaged on the way; try again, and look at proxies between Velero and the storage",
	NotConfirmed: "do not rely on this object; try again",
}

// codeHints know more than their kind.
var codeHints = map[string]string{
	"SignatureDoesNotMatch": "one of these differs between here and the storage: the secret key, the Host header " +
		"(a proxy before the storage must pass it on as it is, or publish its own name as the storage's), the region, the clock",
}

// advice says what to do about e.
func (r *Reporter) advice(e *Error) string {
	var f *fault
	if errors.As(e.Err, &f) && f.hint != "" {
		return f.hint
	}
	if hint := codeHints[CodeOf(e.Err)]; hint != "" {
		return hint
	}
	switch e.Kind {
	case Forbidden:
		return forbiddenHint(e)
	case Credentials, Expired:
		if r.Credentials != "" {
			return r.Credentials
		}
	case Region:
		return regionHint(e.Err, r.Region)
	case Trust:
		return trustHint(e.Err, r.Untrusted)
	case TLS:
		return tlsHint(e.Err)
	case Unknown:
		if e.Op == OpPut && r.ObjectLock {
			return "objectLockMode needs a bucket with object lock"
		}
	case Clock:
		return fmt.Sprintf("%s; here it is %s", hints[Clock], time.Now().UTC().Format(time.RFC3339))
	}
	return hints[e.Kind]
}

// deniedAction and deniedBy find in AWS's refusals the permission and the policy
// that they name (IAM User Guide, "Access denied error message examples").
var (
	deniedAction = regexp.MustCompile(`(?:perform: |allows the )([a-z0-9-]+:[A-Za-z]+)`)
	deniedBy     = regexp.MustCompile(`(explicit deny in an?|because no) ([A-Za-z-]+(?: [a-z]+)? (?:policy|boundary))`)
)

// forbiddenHint names the permission that the storage's answer names, and
// otherwise those of the operation.
func forbiddenHint(e *Error) string {
	message := Text(e.Err)
	action, by := deniedAction.FindStringSubmatch(message), deniedBy.FindStringSubmatch(message)
	switch {
	case action == nil && permissions[e.Op] != "":
		return "the credentials need " + permissions[e.Op]
	case action == nil:
		return ""
	case by == nil:
		return "the credentials need " + action[1]
	case by[1] == "because no":
		return fmt.Sprintf("the credentials need %s; allow it in the %s", action[1], by[2])
	}
	return fmt.Sprintf("%s is denied explicitly in the %s; no other policy can allow it", action[1], by[2])
}

func regionHint(err error, used string) string {
	wanted := "the bucket's region"
	if a := answerIn(err); a != nil && a.Region != "" {
		wanted = "region: " + a.Region
	}
	return fmt.Sprintf("set %s in the location's config; %q was used", wanted, used)
}
