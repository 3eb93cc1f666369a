package check

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// lossy is an API server whose answer to one creation gets lost, since somebody presses
// Ctrl-C.
type lossy struct {
	t         *testing.T
	loses     string // the plural of the kind
	interrupt context.CancelFunc

	mu      sync.Mutex
	objects map[string]map[string]any // by path
}

// ServeHTTP implements http.Handler.
func (l *lossy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	code, answer := l.answer(r)
	if r.Method == http.MethodPost && path.Base(r.URL.Path) == l.loses {
		l.interrupt()
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	require.NoError(l.t, json.NewEncoder(w).Encode(answer))
}

func (l *lossy) answer(r *http.Request) (int, any) {
	var body struct {
		Metadata      map[string]any
		Preconditions metav1.Preconditions
	}
	object := map[string]any{}
	if r.Method == http.MethodPost {
		require.NoError(l.t, json.NewDecoder(r.Body).Decode(&object))
		body.Metadata = object["metadata"].(map[string]any)
		body.Metadata["uid"], body.Metadata["resourceVersion"] = "1", "1"
		l.objects[path.Join(r.URL.Path, body.Metadata["name"].(string))] = object
		return http.StatusCreated, object
	}
	found := l.objects[r.URL.Path]
	if found == nil {
		return failed(apierrors.NewNotFound(schema.GroupResource{}, path.Base(r.URL.Path)))
	}
	if r.Method == http.MethodDelete {
		require.NoError(l.t, json.NewDecoder(r.Body).Decode(&body))
		if *body.Preconditions.UID != "1" {
			return failed(apierrors.NewConflict(schema.GroupResource{}, path.Base(r.URL.Path), errors.New("another UID")))
		}
		delete(l.objects, r.URL.Path)
	}
	return http.StatusOK, found
}

func failed(err *apierrors.StatusError) (int, any) { return int(err.ErrStatus.Code), err.ErrStatus }

// TestFullLosesAnAnswer: what was made is removed also where the answer did not arrive
// before the interruption, so that its UID is not known.
func TestFullLosesAnAnswer(t *testing.T) {
	for _, kind := range []string{"storageclasses", "persistentvolumeclaims"} {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			api := &lossy{t: t, loses: kind, interrupt: cancel, objects: map[string]map[string]any{}}
			server := httptest.NewServer(api)
			t.Cleanup(server.Close)
			client, err := kube.New(&rest.Config{Host: server.URL}, kube.Options{QPS: 100, Burst: 100})
			require.NoError(t, err)
			class := storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "driver"}
			v := &volumeSnapshotter{Cluster: &Cluster{Kube: client}, classes: []storagev1.StorageClass{class}, proof: Full{Size: "1Gi"}}
			made := &trial{volumeSnapshotter: v, namespace: "velero", name: trialPrefix + "one"}
			_, err = made.claim(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.NotEmpty(t, api.objects)
			_, err = made.cleanUp(t.Context())
			require.NoError(t, err)
			require.Empty(t, api.objects)
		})
	}
}
