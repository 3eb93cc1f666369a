package objectstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"time"
)

// guard looks at answers before minio-go does: it refuses what no S3 server
// says, and repairs headers that would make minio-go refuse a good answer.
type guard struct{ next http.RoundTripper }

type expectKey struct{}

// expectXML makes answers with status 200 to requests under ctx an error unless
// the name of their first XML element starts with root. minio-go takes any page for an empty
// listing, and Velero deletes the backups that a listing does not show.
func expectXML(ctx context.Context, root string) context.Context {
	return context.WithValue(ctx, expectKey{}, root)
}

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := checkPage(req); err != nil {
		return nil, err
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	repairHeaders(resp.Header)
	if resp.StatusCode/100 != 2 {
		return resp, nil
	}
	if isPage(resp.Header) {
		_ = resp.Body.Close()
		return nil, faultf(KindNotS3, "the answer is a page (Content-Type %s)", resp.Header.Get("Content-Type"))
	}
	if root, ok := req.Context().Value(expectKey{}).(string); ok {
		return requireRoot(resp, root)
	}
	return resp, nil
}

// isPage tells a web page from an object: S3 names its answers.
func isPage(h http.Header) bool {
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		return false
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-") {
			return false
		}
	}
	return true
}

// repairHeaders replaces dates that minio-go cannot read, which proxies add.
func repairHeaders(h http.Header) {
	if _, err := http.ParseTime(h.Get("Expires")); err != nil {
		h.Del("Expires")
	}
	if _, err := http.ParseTime(h.Get("Last-Modified")); err != nil {
		h.Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
	}
}

// peekLimit is how far the first element of an answer may stand from its start.
const peekLimit = 1 << 10

func requireRoot(resp *http.Response, root string) (*http.Response, error) {
	reader := bufio.NewReaderSize(resp.Body, peekLimit)
	start, err := reader.Peek(peekLimit)
	if err != nil && err != io.EOF {
		_ = resp.Body.Close()
		return nil, err
	}
	if got := rootOf(start); !strings.HasPrefix(got, root) && got != "Error" {
		_ = resp.Body.Close()
		return nil, faultf(KindNotS3, "the answer is no %s but starts with %q", root, firstWords(start))
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{reader, resp.Body}
	return resp, nil
}

// rootOf returns the name of the first XML element in start, or "".
func rootOf(start []byte) string {
	decoder := xml.NewDecoder(bytes.NewReader(start))
	decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	for {
		token, err := decoder.RawToken()
		if err != nil {
			return ""
		}
		if element, ok := token.(xml.StartElement); ok {
			return element.Name.Local
		}
	}
}

func firstWords(start []byte) string {
	text := strings.ToValidUTF8(strings.Join(strings.Fields(string(start)), " "), "?")
	return text[:min(len(text), 60)]
}
