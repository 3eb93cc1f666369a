package readiness

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

const volume = `{"metadata": {"name": "pv"}, "spec": {"csi": {"driver": "d", "volumeHandle": "v"}}}`

// actionOn is an Action in a cluster whose API server answers with what stands under
// the end of a path, with no ConfigMaps, and with 404 to all else. It counts the requests.
func actionOn(t *testing.T, answers map[string]string) (*Action, *int) {
	requests := new(int)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requests++
		w.Header().Set("Content-Type", "application/json")
		answer := answers[filepath.Base(r.URL.Path)]
		if filepath.Base(r.URL.Path) == "configmaps" {
			answer = `{"kind": "ConfigMapList", "apiVersion": "v1", "items": []}`
		}
		if answer != "" {
			fmt.Fprint(w, answer)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`)
	}))
	t.Cleanup(api.Close)
	t.Setenv("KUBECONFIG", testbed.Kubeconfig(t, api.URL))
	t.Setenv("VELERO_NAMESPACE", "velero")
	log, _ := test.NewNullLogger()
	return New("longshore.dev/s3-csi", snapshotter.NewOperations(time.Now()), log), requests
}

func backupIn(phase, spec string) []byte {
	return fmt.Appendf(nil, `{"metadata": {"name": "b", "uid": "u"}, "status": {"phase": %q}, "spec": %s}`, phase, spec)
}

func location(provider, config string) string {
	return fmt.Sprintf(`{"spec": {"provider": %q, "config": %s}}`, provider, config)
}

func TestExecute(t *testing.T) {
	const ready, locations = `{"waitFor": "ready"}`, `{"volumeSnapshotLocations": ["other", "ours"]}`
	for name, c := range map[string]struct {
		phase, spec string
		ours        string
		begins      bool
		fails       bool
	}{
		"waits":                 {phase: "InProgress", spec: locations, ours: location("longshore.dev/s3-csi", ready), begins: true},
		"does not wait":         {phase: "InProgress", spec: locations, ours: location("longshore.dev/s3-csi", `{"waitFor": "handle"}`)},
		"of an unknown driver":  {phase: "InProgress", spec: locations, ours: location("longshore.dev/s3-csi", `{}`), begins: true},
		"of another provider":   {phase: "InProgress", spec: locations, ours: location("velero.io/aws", ready)},
		"no such location":      {phase: "InProgress", spec: locations},
		"its config is wrong":   {phase: "InProgress", spec: locations, ours: location("longshore.dev/s3-csi", `{"waitFor": "later"}`), fails: true},
		"no snapshots":          {phase: "InProgress", spec: `{"snapshotVolumes": false, "volumeSnapshotLocations": ["ours"]}`, ours: location("longshore.dev/s3-csi", ready)},
		"the archive is closed": {phase: "Finalizing", spec: locations, ours: location("longshore.dev/s3-csi", ready)},
	} {
		t.Run(name, func(t *testing.T) {
			action, requests := actionOn(t, map[string]string{"other": location("velero.io/aws", ready), "ours": c.ours})
			operation, err := action.Execute(t.Context(), []byte(volume), backupIn(c.phase, c.spec))
			require.NoError(t, err)
			require.Equal(t, c.begins, operation != "")

			before := *requests
			again, err := action.Execute(t.Context(), []byte(volume), backupIn(c.phase, c.spec))
			require.NoError(t, err)
			require.Equal(t, c.begins, again != "")
			require.Equal(t, c.fails, *requests > before, "the location is read once for a backup, and again after a failure, which may pass")
		})
	}
}

// TestProgressCannotBeTold: an operation that cannot be looked at now is not over.
func TestProgressCannotBeTold(t *testing.T) {
	action, _ := actionOn(t, nil) // it has no snapshot API
	progress, err := action.Progress(t.Context(), uuid.NewString(), backupIn("WaitingForPluginOperations", `{}`))
	require.NoError(t, err)
	require.False(t, progress.Done)
	require.Contains(t, progress.Description, "cannot be told now")
	require.Contains(t, progress.Description, "install the CRDs")
}
