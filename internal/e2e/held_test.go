package e2e

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// place is a request of the plugin or of Velero at which one of them is to be killed.
type place struct {
	method string
	// what is the resource of the API server, or the end of the key in the bucket.
	what string
	// of is what the request, or the object that it is for, has in it.
	of string
	// velero asks, not the plugin.
	velero bool
	// skip is how many such requests pass before.
	skip int
	// answered has the request carried out, and only its answer held.
	answered bool
}

// holdingProxy stands before a server, and holds the requests of the places it was told.
type holdingProxy struct {
	*httptest.Server
	target  *url.URL
	forward *httputil.ReverseProxy
	api     bool // an API server, else an S3 server

	mu   sync.Mutex
	held []*held
}

// held are the requests at one place: the first one, and those that repeat it.
type held struct {
	place
	reached, ended chan struct{}
	once           sync.Once
	dropped        bool
}

// newHoldingProxy stands before a server that the transport reaches.
func newHoldingProxy(t *testing.T, server string, transport http.RoundTripper, api bool) *holdingProxy {
	t.Helper()
	target, err := url.Parse(server)
	require.NoError(t, err)
	p := &holdingProxy{target: target, api: api, forward: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		Transport: transport, FlushInterval: -1,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.end(true)
		p.CloseClientConnections()
	})
	return p
}

// hold has requests held from now on, until end.
func (p *holdingProxy) hold(at place) *held {
	h := &held{place: at, reached: make(chan struct{}), ended: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = append(p.held, h)
	return h
}

// end lets go of what is held at some places, or, if none is named, at all. Dropped requests
// get no answer, and are not carried out if they have not been yet.
func (p *holdingProxy) end(drop bool, some ...*held) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = slices.DeleteFunc(p.held, func(h *held) bool {
		if len(some) > 0 && !slices.Contains(some, h) {
			return false
		}
		h.dropped = drop
		close(h.ended)
		return true
	})
}

// holdLimit bounds the wait for a request. The plugin repeats one that is held for 30
// seconds.
const holdLimit = 25 * time.Second

// await waits until a request is held.
func (h *held) await(t *testing.T) {
	t.Helper()
	select {
	case <-h.reached:
	case <-time.After(holdLimit):
		t.Fatalf("nothing came to %+v", h.place)
	}
}

// ServeHTTP implements http.Handler.
func (p *holdingProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, first := p.find(r)
	if h == nil {
		p.forward.ServeHTTP(w, r)
		return
	}
	if h.answered && first {
		answer := httptest.NewRecorder()
		p.forward.ServeHTTP(answer, r)
		if answer.Code >= http.StatusBadRequest { // a conflict: it comes again
			p.again(h)
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes())
			return
		}
	}
	h.once.Do(func() { close(h.reached) })
	<-h.ended
	if h.answered || h.dropped {
		panic(http.ErrAbortHandler)
	}
	p.forward.ServeHTTP(w, r)
}

// again has the next request at a place be the first.
func (p *holdingProxy) again(h *held) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.skip++
}

// find returns the place that a request has come to, and whether it is the first there.
func (p *holdingProxy) find(r *http.Request) (h *held, first bool) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, false
	}
	var body []byte
	if p.api {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.held {
		if !p.is(h.place, r, body) {
			continue
		}
		h.skip--
		if h.skip >= 0 {
			return nil, false
		}
		return h, h.skip == -1
	}
	return nil, false
}

func (p *holdingProxy) is(at place, r *http.Request, body []byte) bool {
	if at.method != r.Method {
		return false
	}
	if !p.api {
		return strings.HasSuffix(r.URL.Path, at.what) && strings.Contains(r.URL.Path, at.of)
	}
	resource, byPlugin := r.URL.Path, strings.HasPrefix(r.UserAgent(), "velero-plugin-longshore")
	if r.Method != http.MethodPost {
		resource = path.Dir(resource)
	}
	return byPlugin != at.velero && path.Base(resource) == at.what &&
		(strings.Contains(r.URL.Path, at.of) || bytes.Contains(body, []byte(at.of)) || bytes.Contains(p.object(r), []byte(at.of)))
}

// object is what a request of the API server is for, as it is now.
func (p *holdingProxy) object(r *http.Request) []byte {
	if r.Method == http.MethodPost {
		return nil
	}
	get, err := http.NewRequestWithContext(r.Context(), http.MethodGet, p.target.JoinPath(r.URL.Path).String(), http.NoBody)
	if err != nil {
		return nil
	}
	answer, err := p.forward.Transport.RoundTrip(get)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	content, _ := io.ReadAll(answer.Body)
	return content
}
