package wire

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// used counts the requests of this process, of all its locations.
var used usage

// LogUsage logs in one line what this process has asked of S3: how many requests, how
// many of them were made again, how many bytes of content were sent and received, and
// how long they took, of which many may have run at the same time. It logs nothing where
// nothing was asked.
func LogUsage(log logrus.FieldLogger) { used.log(log) }

// usage counts requests by the operation of the S3 API, of which there are few.
type usage struct {
	mu sync.Mutex
	by map[string]*count
}

type count struct {
	requests, retries int
	sent, received    int64 // bytes of bodies
	took              time.Duration
}

// note adds a request that has ended.
func (u *usage) note(operation string, c count) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by == nil {
		u.by = map[string]*count{}
	}
	if u.by[operation] == nil {
		u.by[operation] = &count{}
	}
	u.by[operation].add(c)
}

func (c *count) add(more count) {
	c.requests += more.requests
	c.retries += more.retries
	c.sent += more.sent
	c.received += more.received
	c.took += more.took
}

// String is such as "9 in 120ms, 2 again, 4096 bytes sent".
func (c *count) String() string {
	text := fmt.Sprintf("%d in %v", c.requests, c.took.Round(time.Millisecond))
	for _, more := range []struct {
		n    int64
		what string
	}{{int64(c.retries), "again"}, {c.sent, "bytes sent"}, {c.received, "bytes received"}} {
		if more.n > 0 {
			text += fmt.Sprintf(", %d %s", more.n, more.what)
		}
	}
	return text
}

func (u *usage) log(log logrus.FieldLogger) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var all count
	var told []string
	for _, operation := range slices.Sorted(maps.Keys(u.by)) {
		all.add(*u.by[operation])
		told = append(told, operation+": "+u.by[operation].String())
	}
	if all.requests == 0 {
		return
	}
	log.WithFields(logrus.Fields{
		"requests": all.requests, "retries": all.retries, "bytesSent": all.sent, "bytesReceived": all.received,
		"duration": all.took.Round(time.Millisecond).String(), "operations": strings.Join(told, "; "),
	}).Info("S3 requests of this process")
}

// measure notes a request that was answered, or was not, where the answer has no
// content: at once; else when the answer is closed.
func (u *usage) measure(req *http.Request, attempt int, begun time.Time, resp *http.Response) {
	c := count{requests: 1, sent: max(req.ContentLength, 0)}
	if attempt > 1 {
		c.retries = 1
	}
	end := func(received int64) {
		c.received, c.took = received, time.Since(begun)
		u.note(operationOf(req), c)
	}
	if resp == nil || req.Method == http.MethodHead || resp.ContentLength == 0 {
		end(0)
		return
	}
	resp.Body = &measuredBody{ReadCloser: resp.Body, end: end}
}

// measuredBody counts what is read of an answer.
type measuredBody struct {
	io.ReadCloser
	received int64
	once     sync.Once
	end      func(received int64)
}

// Read implements io.Reader.
func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	return n, err
}

// Close ends the request.
func (b *measuredBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() { b.end(b.received) })
	return err
}

// operationOf names a request as the S3 API does.
func operationOf(req *http.Request) string {
	query := req.URL.Query()
	switch has := query.Has; {
	case req.Method == http.MethodHead:
		return "Head"
	case req.Method == http.MethodPut && has("partNumber"):
		return "UploadPart"
	case req.Method == http.MethodPut && req.Header.Get("X-Amz-Copy-Source") != "":
		return "CopyObject"
	case req.Method == http.MethodPost && has("uploads"):
		return "CreateMultipartUpload"
	case req.Method == http.MethodPost && has("uploadId"):
		return "CompleteMultipartUpload"
	case req.Method == http.MethodDelete && has("uploadId"):
		return "AbortMultipartUpload"
	case req.Method == http.MethodDelete:
		return "DeleteObject"
	case req.Method == http.MethodGet && (has("list-type") || has("versions") || has("uploads") || has("uploadId") || has("delimiter")):
		return "List"
	case len(query) == 0 && req.Method == http.MethodPut:
		return "PutObject"
	case req.Method == http.MethodGet && (len(query) == 0 || has("versionId") || has("partNumber")):
		return "GetObject"
	}
	return "other"
}
