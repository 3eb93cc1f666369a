package snapshotter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// lossy stands between a Snapshotter and the API server. The server carries out
// every change it is asked for, but its answer to the first request of each kind
// gets lost.
type lossy struct {
	*httptest.Server
	forward http.Handler

	mu    sync.Mutex
	lost  map[string]bool
	after func(r *http.Request) // called when the answer to a request is lost
}

func (b *bench) lossy() *lossy {
	b.Helper()
	target, err := url.Parse(b.Config.Host)
	require.NoError(b, err)
	transport, err := rest.TransportFor(b.Config)
	require.NoError(b, err)
	p := &lossy{lost: map[string]bool{}, after: func(*http.Request) {}, forward: &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	p.Server = httptest.NewServer(p)
	b.Cleanup(p.CloseClientConnections)
	return p
}

// ServeHTTP implements http.Handler.
func (p *lossy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		p.forward.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if p.loses(r, body) {
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		p.after(r)
		panic(http.ErrAbortHandler)
	}
	p.forward.ServeHTTP(w, r)
}

func (p *lossy) loses(r *http.Request, body []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	request := r.Method + " " + r.URL.Path + " " + string(body)
	first := !p.lost[request]
	p.lost[request] = true
	return first
}

// openVia makes a Snapshotter that reaches the cluster through the proxy.
func (b *bench) openVia(p *lossy) *Snapshotter {
	b.Helper()
	log := logrus.New()
	log.SetOutput(b.Output())
	s, err := OpenOn(clientFor(b.T, &rest.Config{Host: p.URL}), "velero", log, map[string]string{"sweepAfter": "0"})
	require.NoError(b, err)
	return s
}

// TestClusterAnswersLost: the API server does what it is asked for, but the
// connection breaks before it can say so. Each call goes on where it is.
func TestClusterAnswersLost(t *testing.T) {
	b := onCluster(t, nil)
	p := b.lossy()
	b.Snapshotter = b.openVia(p)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	b.onlySnapshots(before, 1)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	b.onlySnapshots(before, 1)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.onlySnapshots(before, 0)
	t.Logf("%d answers were lost", len(p.lost))
}

// TestClusterNeverAnswered: what was made without an answer that the call lived
// to hear is removed all the same.
func TestClusterNeverAnswered(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	marking.Store(testbed.DriverName, struct{}{}) // as after a first restore
	for _, kind := range []string{"volumesnapshotcontents", "volumesnapshots", "persistentvolumeclaims"} {
		t.Run(kind, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, namespace: b.namespace}
			p := b.lossy()
			s := b.openVia(p)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p.after = func(r *http.Request) {
				if r.Method == http.MethodPost && path.Base(r.URL.Path) == kind {
					cancel()
				}
			}
			_, err := s.CreateVolumeFromSnapshot(ctx, snapshot, pv.Spec.StorageClassName, "", nil)
			t.Log(err)
			require.ErrorIs(t, err, context.Canceled)
			if kind == "persistentvolumeclaims" { // csi-provisioner may have begun with it, or not even have seen it
				require.NoError(t, testbed.Poll(t.Context(), 6*time.Minute, "csi-provisioner's round", func(ctx context.Context) (bool, string, error) {
					now, err := b.Leftovers(ctx)
					return err == nil && len(now.VolumeSnapshots) == len(before.VolumeSnapshots), fmt.Sprint(now.VolumeSnapshots), err
				}))
			}
			b.onlySnapshots(before, 1)
		})
	}
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
