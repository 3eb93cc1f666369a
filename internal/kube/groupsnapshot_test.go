package kube

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestGroupSnapshots: the newest version that is known and served is used.
func TestGroupSnapshots(t *testing.T) {
	for want, served := range map[string][]string{
		"":        {"v1beta1", "v2"},
		"v1":      {"v1beta2", "v1", "v1beta1"},
		"v1beta2": {"v1beta1", "v1beta2"},
	} {
		t.Run(want, func(t *testing.T) {
			asked := ""
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := any(GroupSnapshotClassList{TypeMeta: metav1.TypeMeta{
					Kind: "VolumeGroupSnapshotClassList", APIVersion: groupSnapshotGroup + "/" + want,
				}})
				if asked = r.URL.Path; asked == "/apis/"+groupSnapshotGroup {
					group := metav1.APIGroup{Name: groupSnapshotGroup}
					for _, version := range served {
						group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{Version: version})
					}
					answer = group
				}
				w.Header().Set("Content-Type", "application/json")
				require.NoError(t, json.NewEncoder(w).Encode(answer))
			}))
			defer server.Close()
			api := groupSnapshotsOf(t, server.URL)
			if want == "" {
				require.Nil(t, api)
				return
			}
			_, err := api.Classes.List(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, path.Join("/apis", groupSnapshotGroup, want, "volumegroupsnapshotclasses"), asked)
		})
	}
	t.Run("no such API", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		require.Nil(t, groupSnapshotsOf(t, server.URL))
	})
	t.Run("not to be told", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "away", http.StatusForbidden) }))
		defer server.Close()
		client, err := New(&rest.Config{Host: server.URL}, Options{QPS: 50, Burst: 100, Grace: time.Millisecond})
		require.NoError(t, err)
		_, err = client.GroupSnapshots(t.Context())
		require.ErrorContains(t, err, "look for the API of group snapshots")
	})
}

func groupSnapshotsOf(t *testing.T, host string) *GroupSnapshots {
	t.Helper()
	client, err := New(&rest.Config{Host: host}, Options{QPS: 50, Burst: 100, Grace: time.Millisecond})
	require.NoError(t, err)
	api, err := client.GroupSnapshots(t.Context())
	require.NoError(t, err)
	return api
}
