package s3err

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// answerLimit is how much of a refusal is read, in bytes.
const answerLimit = 1 << 20

// Answer is what an S3 storage said when it refused a request: its error
// document, or the status and headers of an answer that has no body. Its texts
// are cleaned.
type Answer struct {
	Status        int
	Code, Message string // empty where there was no document
	Region        string // of the bucket, where the storage says it
	RequestID     string
}

// Error says what the storage answered, in its own words.
func (a *Answer) Error() string {
	if a.Code == "" {
		return fmt.Sprintf("the storage answered HTTP %d and gave no reason%s", a.Status, a.request(" (", ")"))
	}
	text := "the storage answered " + a.Code
	if a.Message != "" && a.Message != a.Code {
		text += ": " + a.Message
	}
	return fmt.Sprintf("%s (HTTP %d%s)", text, a.Status, a.request(", ", ""))
}

func (a *Answer) request(before, after string) string {
	if a.RequestID == "" {
		return ""
	}
	return before + "request " + a.RequestID + after
}

// Refusal returns nil for a success, and otherwise an error: an *Answer only
// for what S3 says, which is a document with the root Error and a Code, or the
// status of an answer to HEAD. Any other answer is quoted for what it is. Refusal
// reads at most 1 MiB of the body, whose time its reader has to bound.
func Refusal(method string, resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, answerLimit)) // what came is judged
	a := byHeaders(resp)
	switch {
	case a.read(body):
		return a
	case redirects(resp) && a.Region == "":
		return redirected(resp)
	case method == http.MethodHead && a.Status < 500, len(body) == 0 && a.Code+a.RequestID != "":
		return a
	}
	return foreign(resp, body)
}

// InSuccess returns the refusal that document is, though its status is a good one,
// or nil. S3 says so where the work took long (API reference,
// CompleteMultipartUpload), other servers wherever they failed late.
func InSuccess(resp *http.Response, document []byte) error {
	if a := byHeaders(resp); a.read(document) {
		return a
	}
	return nil
}

// byHeaders is what an answer says before its body, which is all that an answer
// to HEAD has.
func byHeaders(resp *http.Response) *Answer {
	return &Answer{
		Status:    resp.StatusCode,
		Code:      received(resp.Header.Get("X-Minio-Error-Code"), 64),
		Message:   sentence(resp.Header.Get("X-Minio-Error-Desc")),
		Region:    received(resp.Header.Get("X-Amz-Bucket-Region"), 64),
		RequestID: received(resp.Header.Get("X-Amz-Request-Id"), 128),
	}
}

// document is S3's error document.
type document struct {
	Code      string
	Message   string
	Region    string
	RequestID string `xml:"RequestId"`
}

// read takes over what an error document says, or returns false for anything
// else. Only what is needed must be well-formed.
func (a *Answer) read(body []byte) bool {
	var d document
	decoder, root, err := XML(body)
	decoder.Strict = false
	if err != nil || root.Name.Local != "Error" || decoder.DecodeElement(&d, &root) != nil {
		return false
	}
	if d.Code = received(d.Code, 64); d.Code == "" {
		return false
	}
	a.Code, a.Message = d.Code, sentence(d.Message)
	a.Region = cmp.Or(received(d.Region, 64), a.Region)
	a.RequestID = cmp.Or(received(d.RequestID, 128), a.RequestID)
	return true
}

// received is foreign text, cleaned. EOF is written out: minio-go replaces every
// error of a transport that contains it.
func received(text string, limit int) string {
	return Clean(strings.ReplaceAll(text, "EOF", "end of file"), limit)
}

// sentence is a message of the server, to stand in the middle of a text.
func sentence(text string) string {
	return strings.TrimSuffix(received(text, messageLimit), ".")
}

func redirects(resp *http.Response) bool {
	return resp.StatusCode/100 == 3 && resp.Header.Get("Location") != ""
}

// redirected is for a proxy that sends requests to another scheme, or people to
// a login. Requests of S3 are signed for their host, so they cannot follow.
func redirected(resp *http.Response) error {
	target, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || target.Host == "" {
		return foreign(resp, nil)
	}
	address := target.Scheme + "://" + target.Host
	hint := ""
	switch asked := resp.Request; {
	case asked == nil || target.Path != asked.URL.Path:
	case target.Host == asked.URL.Host: // the bucket may be a part of it
		hint = received("use "+target.Scheme+":// in s3Url", 200)
	default:
		hint = received("set s3Url to "+address, 200)
	}
	return Hinted(NotS3, hint, "HTTP %d redirects to %s", resp.StatusCode, received(address+target.Path, 200))
}

// tooLarge is the advice for a body that a proxy did not let through.
const tooLarge = "a proxy or load balancer between Velero and the storage limits the size of a request; raise the limit " +
	"(nginx: client_max_body_size; ingress-nginx: the annotation nginx.ingress.kubernetes.io/proxy-body-size) above partSize, or set partSize: 5MiB"

// unavailable is the advice for a 503 that S3 did not give.
const unavailable = "the storage, or a proxy before it, is not ready or overloaded; look at both, or try again later"

// pages are answers of web servers that know what is wrong.
var pages = map[string]string{
	"No required SSL certificate":               noClientCertificate,     // nginx
	"plain HTTP request was sent to HTTPS port": "use https:// in s3Url", // nginx
	"HTTP request to an HTTPS server":           "use https:// in s3Url", // Go
}

// foreign quotes an answer that S3 did not give. What passes with time keeps
// the kind of its status, so that it is tried again.
func foreign(resp *http.Response, body []byte) error {
	kind, hint := NotS3, ""
	switch status := resp.StatusCode; {
	case status == http.StatusRequestEntityTooLarge:
		kind = TooLarge
	case status == http.StatusProxyAuthRequired:
		hint = "the proxy wants a user and password; put them into proxyUrl"
	case status == http.StatusServiceUnavailable:
		kind, hint = statusKind(status), unavailable
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500 && status != http.StatusNotImplemented:
		kind = statusKind(status)
	}
	for words, better := range pages {
		if bytes.Contains(body, []byte(words)) {
			hint = better
		}
	}
	return Hinted(kind, hint, "%s", Quote(resp, body))
}

// Quote says what an answer is that makes no sense as one of S3: its status,
// its type and its first words.
func Quote(resp *http.Response, body []byte) string {
	text := fmt.Sprint("the answer is HTTP ", resp.StatusCode)
	if kind := received(resp.Header.Get("Content-Type"), 64); kind != "" {
		text += ", " + kind
	}
	if len(body) == 0 {
		return text + ", empty"
	}
	return fmt.Sprintf("%s, and begins %q", text, received(string(body[:min(len(body), answerLimit)]), 80))
}
