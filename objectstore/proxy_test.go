package objectstore

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// faultProxy stands between a store and a real server. Its hook sees every
// request and may answer it, break it or let it through.
type faultProxy struct {
	*httptest.Server
	forward http.Handler

	mu   sync.Mutex
	hook func(w http.ResponseWriter, r *http.Request, forward http.Handler)
	seen []string
}

// behindProxy returns the server as seen through a new proxy.
func behindProxy(t testing.TB, s *server) (*server, *faultProxy) {
	behind, p := newFaultProxy(t, s)
	p.Start()
	behind.endpoint = p.URL
	return behind, p
}

// behindTLSProxy returns the server as seen through a new proxy, over https.
func behindTLSProxy(t testing.TB, s *server) (*server, *faultProxy) {
	behind, p := newFaultProxy(t, s)
	p.StartTLS()
	behind.endpoint = p.URL
	behind.caCert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
	return behind, p
}

func newFaultProxy(t testing.TB, s *server) (*server, *faultProxy) {
	target, err := url.Parse(s.endpoint)
	require.NoError(t, err)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p := &faultProxy{forward: forward}
	p.Server = httptest.NewUnstartedServer(p)
	t.Cleanup(p.Close)
	behind := *s
	return &behind, p
}

// ServeHTTP implements http.Handler.
func (p *faultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	hook := p.hook
	p.seen = append(p.seen, r.Method+" "+r.URL.RequestURI())
	p.mu.Unlock()
	if hook == nil {
		p.forward.ServeHTTP(w, r)
		return
	}
	hook(w, r, p.forward)
}

// on sets the hook and forgets what was seen.
func (p *faultProxy) on(hook func(w http.ResponseWriter, r *http.Request, forward http.Handler)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook, p.seen = hook, nil
}

// count returns how many requests with that start were seen.
func (p *faultProxy) count(start string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, line := range p.seen {
		if strings.HasPrefix(line, start) {
			n++
		}
	}
	return n
}

// countWith returns how many requests with that text were seen.
func (p *faultProxy) countWith(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, line := range p.seen {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// first lets only the first n requests that match meet the fault.
func first(n int, match func(*http.Request) bool, fault func(w http.ResponseWriter, r *http.Request, forward http.Handler)) func(http.ResponseWriter, *http.Request, http.Handler) {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		mu.Lock()
		hit := n > 0 && match(r)
		if hit {
			n--
		}
		mu.Unlock()
		if hit {
			fault(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	}
}

func anyRequest(*http.Request) bool { return true }

func isMethod(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method }
}

func isPart(r *http.Request) bool { return r.URL.Query().Has("partNumber") }

func isCreate(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploads")
}

func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

// answer gives an S3 error.
func answer(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.Header().Set("X-Amz-Request-Id", "REQUEST-ID")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>`+code+`</Code><Message>because</Message></Error>`)
		}
	}
}

// reset breaks the connection before the server sees the request.
func reset(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.CopyN(io.Discard, r.Body, 100_000)
	panic(http.ErrAbortHandler)
}

// lose lets the server do its work and loses the answer.
func lose(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
	forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// cut breaks the connection after so many bytes of the answer's body.
func cut(after int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&cutWriter{ResponseWriter: w, left: after}, r)
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	_, _ = w.ResponseWriter.Write(p[:n])
	if w.left -= n; w.left == 0 {
		w.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// stallAfter stops in the middle of the answer's body, for as long as the
// client waits.
func stallAfter(after int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(&stallWriter{ResponseWriter: w, left: after, r: r}, r)
	}
}

type stallWriter struct {
	http.ResponseWriter
	left int
	r    *http.Request
}

func (w *stallWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	_, _ = w.ResponseWriter.Write(p[:n])
	if w.left -= n; w.left == 0 {
		w.ResponseWriter.(http.Flusher).Flush()
		<-w.r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// hang never answers.
func hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// within fails the test when the work took longer.
func within(t testing.TB, limit time.Duration, work func()) {
	start := time.Now()
	work()
	require.Less(t, time.Since(start), limit)
}
