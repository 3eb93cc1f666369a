package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const signingSecret = `
apiVersion: v1
kind: Secret
metadata: {name: longshore-signing, namespace: velero}
stringData: {keys: 9b0f5a7c2d4e61839b0f5a7c2d4e6183}
`

// testPlantedIDs is somebody who can write to the bucket, and nothing else: in the
// list of snapshots of his own backup he writes the handle of another team's. It
// shows what docs/SECURITY.md says of that, without a key and with one.
func testPlantedIDs(t *testing.T, server *testbed.VeleroServer, s3 *testbed.S3) {
	require.NoError(t, server.Cluster.Apply(t.Context(), signingSecret))
	victim := backUp(t, server, "victim", "the victim's")
	signed := map[string]string{"signingKeySecret": "longshore-signing/keys", "requireSignature": "true"}

	own := backUp(t, server, "unsigned", "his own")
	plant(t, s3, "unsigned", own, victim)
	setLocation(t, server, signed)
	refusesPlanted(t, server, "unsigned", "is not signed, and the setting requireSignature takes signed IDs only")

	own = backUp(t, server, "signed", "his own")
	plant(t, s3, "signed", own, victim)
	refusesPlanted(t, server, "signed", "it was changed after key")
	require.DirExists(t, snapshotFolder(server.Cluster, victim), "nothing has touched the victim's snapshot")

	setLocation(t, server, map[string]string{"signingKeySecret": "", "requireSignature": ""})
	veleroCLI(t, server, "restore", "create", "planted-unsigned", "--from-backup", "unsigned")
	require.NoError(t, server.WaitRestore(t.Context(), "planted-unsigned", waitLimit))
	dir, err := server.Cluster.ClaimDir(t.Context(), "unsigned", "data")
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	require.Equal(t, "the victim's", string(content), "without a key a planted ID is served: it is this that the key prevents")
}

// backUp makes a claim in a namespace of its own and a backup of it, deletes the
// namespace, and returns the handle of the snapshot.
func backUp(t *testing.T, server *testbed.VeleroServer, name, content string) (handle string) {
	t.Helper()
	claim(t, server.Cluster, name, "data")
	dir, err := server.Cluster.ClaimDir(t.Context(), name, "data")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o600))
	before := snapshotsIn(t, server.Cluster)
	veleroCLI(t, server, "backup", "create", name, "--include-namespaces", name)
	require.NoError(t, server.WaitBackup(t.Context(), name, waitLimit))
	require.NoError(t, server.Cluster.DeleteNamespace(t.Context(), name))
	require.Eventually(t, func() bool {
		left, err := server.Cluster.Leftovers(t.Context())
		return err == nil && len(left.PersistentVolumes)+len(left.StorageVolumes) == 0
	}, waitLimit, 200*time.Millisecond, "the volumes of the deleted namespace are still there")
	for handle := range snapshotsIn(t, server.Cluster) {
		if !before[handle] {
			return handle
		}
	}
	t.Fatal("the backup has taken no snapshot")
	return ""
}

func snapshotsIn(t *testing.T, cluster *testbed.Cluster) map[string]bool {
	t.Helper()
	left, err := cluster.Leftovers(t.Context())
	require.NoError(t, err)
	all := map[string]bool{}
	for _, handle := range left.StorageSnapshots {
		all[handle] = true
	}
	return all
}

func snapshotFolder(cluster *testbed.Cluster, handle string) string {
	return filepath.Join(cluster.Storage, "snapshots", handle)
}

// plant changes the handle in the backup's list of snapshots.
func plant(t *testing.T, s3 *testbed.S3, backup, handle, planted string) {
	t.Helper()
	replaceInObject(t, s3, "backups/"+backup+"/"+backup+"-volumesnapshots.json.gz", handle, planted)
}

// setLocation changes the config of the volume snapshot location; "" removes a key.
func setLocation(t *testing.T, server *testbed.VeleroServer, config map[string]string) {
	t.Helper()
	values := map[string]any{}
	for key, value := range config {
		values[key] = value
		if value == "" {
			values[key] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"config": values}})
	require.NoError(t, err)
	_, err = server.Objects("volumesnapshotlocations").Patch(t.Context(), testbed.DefaultLocation, types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
	time.Sleep(3 * time.Second) // Velero reads the location from its cache, which a watch brings up to date
}

// refusesPlanted restores a planted backup and then deletes it: both fail with the
// reason, and cluster and storage stay as they are.
func refusesPlanted(t *testing.T, server *testbed.VeleroServer, backup, reason string) {
	t.Helper()
	before, err := server.Cluster.Leftovers(t.Context())
	require.NoError(t, err)
	veleroCLI(t, server, "restore", "create", backup, "--from-backup", backup)
	_, err = server.WaitPhase(t.Context(), "restores", backup, waitLimit, "PartiallyFailed")
	require.NoError(t, err)
	requireLine(t, veleroCLI(t, server, "restore", "logs", backup), "level=error", "snapshot ID", "is refused", reason)
	require.NoError(t, server.Cluster.DeleteNamespace(t.Context(), backup)) // the claim waits for its volume

	veleroCLI(t, server, "backup", "delete", backup, "--confirm")
	require.Eventually(t, func() bool {
		requests, err := server.Objects("deletebackuprequests").List(t.Context(), metav1.ListOptions{LabelSelector: "velero.io/backup-name=" + backup})
		if err != nil || len(requests.Items) == 0 {
			return false
		}
		said, err := requests.Items[0].MarshalJSON()
		return err == nil && strings.Contains(string(said), reason)
	}, waitLimit, 200*time.Millisecond, "the deletion does not say why it is refused")

	after, err := server.Cluster.Leftovers(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
}
