package wire

import (
	"context"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"
)

// requestLog writes a line at debug level for each request, and counts it. It names
// headers and query keys only one by one: nothing secret can slip in.
type requestLog struct {
	next http.RoundTripper
	log  logrus.FieldLogger
	used *usage
}

type attemptKey struct{}

// WithAttempt says in the log of requests under ctx how many times the request
// has been made.
func WithAttempt(ctx context.Context, attempt int) context.Context {
	return context.WithValue(ctx, attemptKey{}, attempt)
}

// RoundTrip implements http.RoundTripper.
func (t requestLog) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(req)
	fields := logrus.Fields{
		"method":   req.Method,
		"host":     req.URL.Host,
		"path":     req.URL.Path,
		"duration": time.Since(start).Round(time.Millisecond / 10).String(),
	}
	attempt, ok := req.Context().Value(attemptKey{}).(int)
	if ok {
		fields["attempt"] = attempt
	}
	t.used.measure(req, attempt, start, resp)
	for _, name := range []string{"partNumber", "list-type", "prefix", "delimiter", "versionId"} {
		if value := req.URL.Query().Get(name); value != "" {
			fields[name] = value
		}
	}
	if err != nil {
		fields["error"] = err
	} else {
		fields["status"] = resp.StatusCode
		fields["requestID"] = resp.Header.Get("X-Amz-Request-Id")
	}
	t.log.WithFields(fields).Debug("S3 request")
	return resp, err
}
