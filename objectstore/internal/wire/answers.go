package wire

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// Bounds of an answer that is no object, in bytes.
const (
	DocumentLimit = 16 << 20 // a page of a listing is a few hundred KiB
	RefusalLimit  = 1 << 20
	HeaderLimit   = 1 << 20
)

// answers reads every answer that is no object whole, within bounds of size and
// time, before anything else looks at it. It refuses what no S3 server says, and
// replaces headers that would make minio-go refuse a good answer.
type answers struct {
	next http.RoundTripper
	// limit is how long a document may take to be whole, once it has begun.
	limit time.Duration
}

type objectKey struct{}

// ExpectObject lets a successful answer to requests under ctx be an object,
// which is not bounded and is read by the caller.
func ExpectObject(ctx context.Context) context.Context {
	return context.WithValue(ctx, objectKey{}, true)
}

type expectKey struct{}

type expected struct {
	root string
	into any
}

// ExpectXML makes answers with status 200 to requests under ctx an error unless
// they are a whole XML document whose first element's name starts with root. The
// document is read into the struct that into points to.
func ExpectXML(ctx context.Context, root string, into any) context.Context {
	return context.WithValue(ctx, expectKey{}, expected{root, into})
}

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	asked := req.Clone(ctx)
	asked.Header.Set("Accept-Encoding", "identity")
	resp, err := a.next.RoundTrip(asked)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	repairHeaders(resp.Header)
	if isPage(resp) {
		_ = resp.Body.Close()
		cancel(nil)
		return nil, s3err.Errorf(s3err.NotS3, "the answer is a page (Content-Type %s)", resp.Header.Get("Content-Type"))
	}
	if object, _ := ctx.Value(objectKey{}).(bool); object && resp.StatusCode/100 == 2 {
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
			_ = resp.Body.Close()
			cancel(nil)
			return nil, s3err.Errorf(s3err.NotS3, "the answer is HTTP %d, which has no object", resp.StatusCode)
		}
		resp.Body = &canceling{resp.Body, cancel}
		return resp, nil
	}
	defer cancel(nil)
	if err := a.bound(ctx, cancel, resp); err != nil {
		return nil, err
	}
	if err := s3err.Refusal(req.Method, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// canceling ends a request when its body is closed.
type canceling struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

// Close implements io.Closer.
func (c *canceling) Close() error {
	err := c.ReadCloser.Close()
	c.cancel(nil)
	return err
}

// bound reads the document and puts it in place of the body.
func (a answers) bound(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response) error {
	limit := max(a.limit, answerTime(ctx))
	timer := time.AfterFunc(limit, func() {
		cancel(s3err.Hinted(s3err.Timeout, slow("requestTimeout"), "the answer was not complete after %v", limit))
	})
	defer timer.Stop()
	document, err := readDocument(resp)
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(document))
	if resp.StatusCode/100 != 2 {
		return nil
	}
	if err := s3err.InSuccess(resp, document); err != nil {
		return err
	}
	if e, ok := ctx.Value(expectKey{}).(expected); ok {
		return readXML(document, e.root, e.into)
	}
	return nil
}

func readDocument(resp *http.Response) ([]byte, error) {
	limit := int64(DocumentLimit)
	if resp.StatusCode/100 != 2 {
		limit = RefusalLimit
	}
	body, err := Decoded(resp.Header, resp.Body)
	if err != nil {
		return nil, err
	}
	document, err := io.ReadAll(io.LimitReader(body, limit+1))
	if int64(len(document)) > limit {
		return nil, s3err.Errorf(s3err.NotS3, "the answer (HTTP %d) is larger than %d bytes", resp.StatusCode, limit)
	}
	return document, err
}

// Decoded undoes an encoding of body that nobody asked for: there are proxies
// that compress whatever passes.
func Decoded(h http.Header, body io.Reader) (io.Reader, error) {
	switch encoding := Encoding(h); encoding {
	case "":
		return body, nil
	case "gzip":
		plain, err := gzip.NewReader(body)
		if err == io.EOF { //nolint:errorlint // the end is io.EOF itself; a failure may wrap one
			return bytes.NewReader(nil), nil // HEAD, or an empty answer
		}
		if err != nil {
			return nil, s3err.Errorf(s3err.NotS3, "the answer should be compressed with gzip and is not: %w", err)
		}
		return unzipped{plain}, nil
	default:
		return nil, s3err.Errorf(s3err.NotS3, "the answer has the Content-Encoding %q, which was not asked for", encoding)
	}
}

// Encoding is the encoding in which an answer was sent, "" for none.
func Encoding(h http.Header) string {
	switch encoding := strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding"))); encoding {
	case "identity", "aws-chunked":
		return ""
	case "x-gzip":
		return "gzip"
	default:
		return encoding
	}
}

// unzipped gives the errors of damaged or incomplete data their kind.
type unzipped struct{ *gzip.Reader }

// Read implements io.Reader.
func (u unzipped) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = s3err.Errorf(s3err.Unreachable, "the compressed answer ended early")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		err = s3err.Errorf(s3err.Corrupt, "the compressed answer is damaged: %w", err)
	}
	return n, err
}

// isPage tells a web page from an object: S3 names its answers.
func isPage(resp *http.Response) bool {
	return resp.StatusCode/100 == 2 && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && !IsS3(resp.Header)
}

// IsS3 tells whether an answer has a header that only S3 has.
func IsS3(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-") {
			return true
		}
	}
	return false
}

// repairHeaders makes headers fit for minio-go, which refuses a good answer for
// an odd value in a header that nobody needs.
func repairHeaders(h http.Header) {
	for _, unused := range []string{"Expires", "X-Amz-Restore", "X-Amz-Expiration", "X-Amz-Tagging", "X-Amz-Tagging-Count", "X-Minio-Source-Mtime"} {
		h.Del(unused)
	}
	if _, err := http.ParseTime(h.Get("Last-Modified")); err != nil {
		h.Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
	}
	// A proxy that changes nothing but the encoding makes an ETag weak.
	if etag, weak := strings.CutPrefix(h.Get("Etag"), "W/"); weak {
		h.Set("Etag", etag)
	}
}
