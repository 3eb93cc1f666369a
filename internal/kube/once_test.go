package kube

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestOnce: each list is asked for once, and each object that is looked for. An error
// is asked again, and nobody's copy of a list is another's.
func TestOnce(t *testing.T) {
	asked := map[string]int{}
	refuse := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path+"?"+r.URL.RawQuery]++
		w.Header().Set("Content-Type", "application/json")
		if refuse || r.URL.Path == "/apis/storage.k8s.io/v1/csidrivers/gone" {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
			return
		}
		_ = json.NewEncoder(w).Encode(storagev1.StorageClassList{
			TypeMeta: metav1.TypeMeta{Kind: "StorageClassList", APIVersion: "storage.k8s.io/v1"},
			Items: []storagev1.StorageClass{
				{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}},
			},
		})
	}))
	t.Cleanup(server.Close)
	client, err := New(&rest.Config{Host: server.URL}, Options{QPS: 100, Burst: 100})
	require.NoError(t, err)
	once := client.Once()

	_, err = once.StorageClasses.List(t.Context(), "")
	require.Error(t, err)
	refuse = false
	for range 3 {
		classes, err := once.StorageClasses.List(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, classes, 2)
		require.Equal(t, "a", classes[0].Name)
		classes[0] = nil
		_, err = once.StorageClasses.List(t.Context(), "x=y")
		require.NoError(t, err)
		driver, err := once.CSIDrivers.Find(t.Context(), "gone")
		require.NoError(t, err)
		require.Nil(t, driver)
	}
	require.Equal(t, map[string]int{
		"/apis/storage.k8s.io/v1/storageclasses?":                    2,
		"/apis/storage.k8s.io/v1/storageclasses?labelSelector=x%3Dy": 1,
		"/apis/storage.k8s.io/v1/csidrivers/gone?":                   1,
	}, asked)
	_, err = client.StorageClasses.List(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 3, asked["/apis/storage.k8s.io/v1/storageclasses?"], "the other client asks each time")
}
