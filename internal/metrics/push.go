package metrics

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	pushTries   = 3
	pushTimeout = 20 * time.Second // of one try
	// quoted is how much of an answer an error shows, in bytes.
	quoted = 200
)

// Target is where Push sends gauges: a group of a Pushgateway.
type Target struct{ url *url.URL }

// ParseTarget reads the address of a Pushgateway, which may hold a user and a password.
// The group is that of the job and its labels, unless the address goes on with
// /metrics/job/ itself.
func ParseTarget(address, job string, group ...Label) (*Target, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the address of a Pushgateway is of the form https://HOST:PORT, or https://HOST:PORT/metrics/job/NAME")
	}
	if strings.Contains(u.Path, "/metrics/job/") || strings.Contains(u.Path, "/metrics/job@base64/") {
		return &Target{u}, nil
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/") + "/metrics/job/" + url.PathEscape(job)
	for _, l := range group {
		// An empty value is one "=" (Pushgateway's README).
		value := base64.RawURLEncoding.EncodeToString([]byte(l.Value))
		if value == "" {
			value = "="
		}
		path += "/" + l.Name + "@base64/" + value
	}
	u.RawPath = path
	u.Path, err = url.PathUnescape(path)
	return &Target{u}, err
}

// Push replaces the group's metrics by gauges. Errors and failures of the server are
// tried again twice.
func (t *Target) Push(ctx context.Context, gauges []Gauge) error {
	text := Text(gauges)
	for try := 1; ; try++ {
		again, err := t.put(ctx, text)
		if err == nil {
			return nil
		}
		if !again || try == pushTries || ctx.Err() != nil {
			return fmt.Errorf("push metrics to %s://%s: %w", t.url.Scheme, t.url.Host, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try) * time.Second):
		}
	}
}

// client follows no redirect: Go makes a GET of a PUT that is redirected, which stores
// nothing.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (t *Target) put(ctx context.Context, text []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, t.url.String(), bytes.NewReader(text))
	if err != nil {
		return false, errors.New("its address cannot be used")
	}
	req.Header.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	resp, err := client.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the address
	}
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, quoted))
	switch {
	case resp.StatusCode/100 == 3:
		return false, fmt.Errorf("it redirects (%s): give the address that it redirects to", resp.Status)
	case resp.StatusCode/100 != 2:
		return resp.StatusCode/100 == 5, fmt.Errorf("it answered %s: %q", resp.Status, said)
	case err != nil:
		return true, err
	case len(bytes.TrimSpace(said)) > 0:
		return false, fmt.Errorf("it is no Pushgateway: it answered %s with a text, %q", resp.Status, said)
	}
	return false, nil
}
