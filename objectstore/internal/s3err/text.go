package s3err

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/minio/minio-go/v7"
)

const (
	messageLimit = 300  // characters of a server's message
	textLimit    = 2000 // characters of a whole error
)

// ellipsis stands where a long text was shortened, perhaps within a secret.
const ellipsis = "…"

// Clean makes foreign text fit for one line: at most limit characters, white
// space as single spaces, and no control, bidirectional or invisible character.
func Clean(text string, limit int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			space = n > 0
			continue
		case !unicode.IsGraphic(r), r == unicode.ReplacementChar:
			continue
		}
		if n >= limit {
			return b.String() + ellipsis
		}
		if space {
			b.WriteByte(' ')
			space = false
			n++
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// missingWords are those by which Velero (since 1.18.1) takes a failed download
// for a missing object: it then skips DeleteItemActions and goes on deleting
// (vmware-tanzu/velero, pkg/controller/backup_deletion_controller.go).
var missingWords = regexp.MustCompile(`(?i)not found|does not exist|nosuchkey`)

var otherWords = map[string]string{"not found": "missing", "does not exist": "is missing", "nosuchkey": "no such key"}

// withoutMissing replaces the words that Velero would act upon.
func withoutMissing(text string) string {
	return missingWords.ReplaceAllStringFunc(text, func(words string) string { return otherWords[strings.ToLower(words)] })
}

// Text is the text of err, without the URL that net/http puts before its
// errors: it may hold a signature.
func Text(err error) string {
	var response minio.ErrorResponse
	if errors.As(err, &response) {
		return strings.Replace(err.Error(), response.Error(), answerOf(response).Error(), 1)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return strings.Replace(err.Error(), u.Error(), u.Err.Error(), 1)
	}
	return err.Error()
}

// answerOf is an answer that minio-go has read itself: a Complete's document
// with status 200, or an objection of its own.
func answerOf(r minio.ErrorResponse) *Answer {
	return &Answer{
		Status: r.StatusCode, Code: Clean(r.Code, 64), Message: sentence(r.Message),
		Region: Clean(r.Region, 64), RequestID: Clean(r.RequestID, 128),
	}
}
