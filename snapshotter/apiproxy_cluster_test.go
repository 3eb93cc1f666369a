package snapshotter

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// apiProxy stands between a Snapshotter and the API server, and disturbs each
// request for a change when it is sent for the first time.
type apiProxy struct {
	*httptest.Server
	forward http.Handler
	loses   bool                  // whether the server carries the request out, but its answer gets lost
	before  func(r *http.Request) // called before the server is asked
	after   func(r *http.Request) // called when an answer is lost

	mu   sync.Mutex
	seen map[string]bool
}

func (b *bench) apiProxy() *apiProxy {
	b.Helper()
	target, err := url.Parse(b.Config.Host)
	require.NoError(b, err)
	transport, err := rest.TransportFor(b.Config)
	require.NoError(b, err)
	nothing := func(*http.Request) {}
	p := &apiProxy{seen: map[string]bool{}, before: nothing, after: nothing, forward: &httputil.ReverseProxy{
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
func (p *apiProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		p.forward.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !p.isNew(r, body) {
		p.forward.ServeHTTP(w, r)
		return
	}
	p.before(r)
	if !p.loses {
		p.forward.ServeHTTP(w, r)
		return
	}
	p.forward.ServeHTTP(httptest.NewRecorder(), r)
	p.after(r)
	panic(http.ErrAbortHandler)
}

func (p *apiProxy) isNew(r *http.Request, body []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	request := r.Method + " " + r.URL.Path + " " + string(body)
	defer func() { p.seen[request] = true }()
	return !p.seen[request]
}

// openVia makes a Snapshotter that reaches the cluster through the proxy.
func (b *bench) openVia(p *apiProxy) *Snapshotter {
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
	p := b.apiProxy()
	p.loses = true
	b.Snapshotter = b.openVia(p)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	b.onlySnapshots(before, 1)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	b.soonOnlySnapshots(before, 1)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.onlySnapshots(before, 0)
	require.Greater(t, len(p.seen), 10, "answers were lost")
}

// TestClusterNeverAnswered: what was made without an answer that the call lived
// to hear is removed all the same.
func TestClusterNeverAnswered(t *testing.T) {
	b := onCluster(t, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	for _, kind := range []string{"volumesnapshotcontents", "volumesnapshots", "persistentvolumeclaims"} {
		t.Run(kind, func(t *testing.T) {
			b := &bench{T: t, Cluster: b.Cluster, namespace: b.namespace}
			p := b.apiProxy()
			p.loses = true
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
			b.Snapshotter = s
			b.sweepAll() // csi-provisioner may have begun with the claim
			b.soonOnlySnapshots(before, 1)
		})
	}
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterConflicts: somebody else changes each content and PersistentVolume in
// the moment in which the plugin does. The plugin looks again, and goes on.
func TestClusterConflicts(t *testing.T) {
	b := onCluster(t, nil)
	p := b.apiProxy()
	b.Snapshotter = b.openVia(p)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	var others sync.WaitGroup
	var met sync.Map
	var conflicts atomic.Int32
	p.before = func(r *http.Request) {
		kind := path.Base(path.Dir(r.URL.Path))
		if kind != "volumesnapshotcontents" && kind != "persistentvolumes" {
			return
		}
		if _, known := met.LoadOrStore(r.Method+r.URL.Path, true); !known && b.interfere(r.URL.Path, &others) {
			conflicts.Add(1)
		}
	}
	snapshot := b.snapshotOf(pv, "b1")
	others.Wait()
	b.onlySnapshots(before, 1)
	_, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	others.Wait()
	b.soonOnlySnapshots(before, 1)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	others.Wait()
	b.onlySnapshots(before, 0)
	t.Logf("%d requests met another's change", conflicts.Load())
	require.Greater(t, conflicts.Load(), int32(3))
}

// interfere puts a finalizer before the others of an object, if it is not about to
// go, and takes it away again a little later.
func (b *bench) interfere(object string, others *sync.WaitGroup) bool {
	b.Helper()
	patch := func(body string) error {
		return b.Kube.CoreV1().RESTClient().Patch(types.JSONPatchType).AbsPath(object).Body([]byte(body)).Do(b.background()).Error()
	}
	err := patch(`[{"op": "add", "path": "/metadata/finalizers/0", "value": "example.com/other"}]`)
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		return false
	}
	if err != nil {
		b.Errorf("%s: %v", object, err)
		return false
	}
	others.Go(func() {
		time.Sleep(300 * time.Millisecond)
		if err := patch(`[{"op": "test", "path": "/metadata/finalizers/0", "value": "example.com/other"}, {"op": "remove", "path": "/metadata/finalizers/0"}]`); err != nil {
			b.Errorf("%s: %v", object, err)
		}
	})
	return true
}
