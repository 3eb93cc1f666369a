package s3err

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"
)

// The operations, as errors name them.
const (
	OpOpen   = "open location"
	OpPut    = "put object"
	OpGet    = "get object"
	OpExists = "look for object"
	OpList   = "list objects"
	OpDelete = "delete object"
	OpSign   = "sign a URL for object"
	OpRewrap = "rewrap object"

	OpDeleteVersion  = "delete the new version of object"
	OpDeleteVersions = "delete all versions of object"
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

	what, hint string
}

// Error returns operation, place, meaning, the server's answer and what to do.
func (e *Error) Error() string {
	if e.hint == "" {
		return e.what
	}
	return e.what + "; " + e.hint
}

// GoString is the text: the fields hold the server's answer as it came.
func (e *Error) GoString() string { return e.Error() }

// What is the text without advice.
func (e *Error) What() string { return e.what }

// Hint says what to do, or is "".
func (e *Error) Hint() string { return e.hint }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reporter makes the errors of one location.
type Reporter struct {
	Endpoint    string
	Region      string   // that requests are signed for
	Credentials string   // what to do when the storage refuses them
	Untrusted   []string // certificates that were given and could not be used
	ObjectLock  bool     // whether objects are stored with a lock
	Secrets     *Secrets
	Log         logrus.FieldLogger
}

// Failed turns err into the one error that leaves.
func (r *Reporter) Failed(op, bucket, key string, err error) error {
	var done *Error
	if errors.As(err, &done) {
		return done
	}
	e := &Error{Op: op, Bucket: bucket, Key: key, Endpoint: r.Endpoint, Kind: KindOf(err), Err: err}
	e.what, e.hint = r.line(e.Kind, e.describe()), r.line(e.Kind, r.advice(e))
	r.Log.WithField("error", e.Error()).Debug("Operation failed")
	return e
}

// line makes a text fit to leave.
func (r *Reporter) line(kind Kind, text string) string {
	text = r.Secrets.Redact(Clean(text, textLimit))
	if kind == NotFound {
		return text
	}
	return withoutMissing(text)
}

// describe says what happened, without advice.
func (e *Error) describe() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Key != "" {
		fmt.Fprintf(&b, " %q", e.Key)
	}
	fmt.Fprintf(&b, " in bucket %q at %s: ", e.Bucket, e.Endpoint)
	if e.Kind != Unknown {
		fmt.Fprintf(&b, "%s: ", e.Kind)
	}
	b.WriteString(Text(e.Err))
	return b.String()
}
