package kube

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

// TestUnstructured reads, lists and watches objects without a type, and knows an
// error for what it is.
func TestUnstructured(t *testing.T) {
	const restore = `{"apiVersion": "velero.io/v1", "kind": "Restore", "metadata": {"name": "a", "namespace": "velero", "uid": "u", "resourceVersion": "%d"}, "status": {"phase": "%s"}}`
	const path = "/apis/velero.io/v1/namespaces/velero/restores"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == path && r.URL.Query().Get("watch") != "":
			fmt.Fprintf(w, `{"type": "MODIFIED", "object": `+restore+`}`, 2, "Completed")
		case r.URL.Path == path:
			fmt.Fprintf(w, `{"apiVersion": "velero.io/v1", "kind": "RestoreList", "metadata": {"resourceVersion": "1"}, "items": [`+restore+`]}`, 1, "New")
		case r.URL.Path == path+"/a":
			fmt.Fprintf(w, restore, 1, "New")
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "restores \"b\" not found", "reason": "NotFound", "code": 404}`)
		}
	}))
	defer server.Close()
	client, err := New(&rest.Config{Host: server.URL}, Options{QPS: 100, Burst: 100})
	require.NoError(t, err)
	restores, err := client.Unstructured("velero.io", "Restore", "restores")
	require.NoError(t, err)
	restores = restores.In("velero")

	list, err := restores.List(t.Context(), "a=b")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "a", list[0].GetName())

	ended, err := restores.Until(t.Context(), Target{Name: "a", Object: "Restore a", Until: "its end"}, nil, func(now *unstructured.Unstructured) (bool, string, error) {
		phase, _, err := unstructured.NestedString(now.Object, "status", "phase")
		return phase == "Completed", phase, err
	})
	require.NoError(t, err)
	require.Equal(t, "2", ended.GetResourceVersion())

	_, err = restores.Get(t.Context(), "b")
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	require.ErrorContains(t, err, `restores "b" not found`)
}
