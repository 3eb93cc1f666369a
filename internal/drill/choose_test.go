package drill

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// ofNightly are the backups of a schedule. The oldest was synced last.
const ofNightly = `{"apiVersion": "velero.io/v1", "kind": "BackupList", "metadata": {}, "items": [
{"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "old", "labels": {"velero.io/schedule-name": "nightly"}, "creationTimestamp": "2026-01-09T00:00:00Z"}, "spec": {"storageLocation": "a"}, "status": {"phase": "Completed", "startTimestamp": "2026-01-01T02:00:00Z"}},
{"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "good", "labels": {"velero.io/schedule-name": "nightly"}}, "spec": {"storageLocation": "a"}, "status": {"phase": "PartiallyFailed", "startTimestamp": "2026-01-02T02:00:00Z"}},
{"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "elsewhere", "labels": {"velero.io/schedule-name": "nightly"}}, "spec": {"storageLocation": "b"}, "status": {"phase": "Failed", "startTimestamp": "2026-01-03T02:00:00Z"}},
{"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "running", "labels": {"velero.io/schedule-name": "nightly"}}, "spec": {"storageLocation": "a"}, "status": {"phase": "WaitingForPluginOperations", "startTimestamp": "2026-01-04T02:00:00Z"}},
{"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "new", "labels": {"velero.io/schedule-name": "nightly"}, "creationTimestamp": "2026-01-05T02:00:00Z"}, "spec": {"storageLocation": "c"}}
]}`

// answering is a cluster whose API answers so.
func answering(t *testing.T, answer func(*http.Request) string) *Cluster {
	t.Helper()
	return answeringWith(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer(r))
	})
}

func answeringWith(t *testing.T, answer http.HandlerFunc) *Cluster {
	t.Helper()
	api := httptest.NewServer(answer)
	t.Cleanup(api.Close)
	cluster, err := check.NewCluster(&rest.Config{Host: api.URL}, "velero")
	require.NoError(t, err)
	c, err := NewCluster(cluster)
	require.NoError(t, err)
	return c
}

// TestLatest: the newest is by the time at which a backup began, and one that failed is
// not passed over, which would hide that there is no newer one.
func TestLatest(t *testing.T) {
	c := answering(t, func(r *http.Request) string {
		if r.URL.Path == "/apis/velero.io/v1/namespaces/velero/backups" && r.URL.Query().Get("labelSelector") == "velero.io/schedule-name=nightly" {
			return ofNightly
		}
		return `{"apiVersion": "velero.io/v1", "kind": "BackupList", "metadata": {}, "items": []}`
	})

	newest, unfinished, err := c.Latest(t.Context(), "nightly", "")
	require.NoError(t, err)
	require.Equal(t, Backup{Name: "elsewhere", Location: "b", Schedule: "nightly"}, newest)
	require.Equal(t, []string{"new", "running"}, unfinished)
	newest, unfinished, err = c.Latest(t.Context(), "nightly", "a")
	require.NoError(t, err)
	require.Equal(t, "good", newest.Name)
	require.Equal(t, []string{"running"}, unfinished)
	_, _, err = c.Latest(t.Context(), "nightly", "c")
	require.ErrorContains(t, err, "no finished backup of schedule nightly in namespace velero")
	require.ErrorContains(t, err, "not finished: new")
	_, _, err = c.Latest(t.Context(), "weekly", "")
	require.ErrorContains(t, err, "not finished: none")
	_, _, err = c.Latest(t.Context(), "a=b", "")
	require.ErrorContains(t, err, `"a=b" is no name of a Schedule`)
}
