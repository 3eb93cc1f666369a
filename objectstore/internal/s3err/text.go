package s3err

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
)

// Text is the text of err, with the server's own answer in full and
// without the URL that net/http puts before its errors: it may hold a signature.
func Text(err error) string {
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
	if message := Clean(r.Error()); message != "" && message != r.Code {
		text += ": " + message
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// Clean makes an answer that may be a page fit for one line.
func Clean(text string) string {
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
