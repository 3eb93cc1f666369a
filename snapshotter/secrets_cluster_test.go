package snapshotter

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// secretObjects are a snapshot class that is chosen for its label, a storage class,
// and the secrets that they name: one in the claim's namespace for taking and
// deleting snapshots, one elsewhere for looking them up, and one for each claim for
// making and deleting its volume.
const secretObjects = `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata:
  name: secretive
  labels: {velero.io/csi-volumesnapshot-class: "true"}
driver: hostpath.longshore.dev
deletionPolicy: Retain
parameters:
  csi.storage.k8s.io/snapshotter-secret-name: taker
  csi.storage.k8s.io/snapshotter-secret-namespace: ${volumesnapshot.namespace}
  csi.storage.k8s.io/snapshotter-list-secret-name: lister
  csi.storage.k8s.io/snapshotter-list-secret-namespace: velero
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: templated}
provisioner: hostpath.longshore.dev
parameters:
  csi.storage.k8s.io/provisioner-secret-name: ${pvc.namespace}-${pvc.name}
  csi.storage.k8s.io/provisioner-secret-namespace: velero
---
apiVersion: v1
kind: Secret
metadata: {name: lister, namespace: velero}
stringData: {token: b}
---
apiVersion: v1
kind: Secret
metadata: {name: taker, namespace: NAMESPACE}
stringData: {token: a}
---
apiVersion: v1
kind: Secret
metadata: {name: NAMESPACE-data, namespace: velero}
stringData: {token: c}
`

// TestClusterSecrets: a driver that wants secrets gets them for each call, and
// the ID names them, but does not hold them.
func TestClusterSecrets(t *testing.T) {
	onCluster(t, nil) // starts the bed
	cluster, err := shared.bed.StartCluster(t.Context(), testbed.ClusterOptions{
		Name: "secretive",
		Args: map[string][]string{testbed.CSIDriver.Name: {
			"--require-secret", "snapshot:token=a", "--require-secret", "deletesnapshot:token=a", "--require-secret", "list:token=b",
			"--require-secret", "create:token=c", "--require-secret", "delete:token=c",
		}},
	})
	require.NoError(t, err)
	b := benchOn(t, cluster, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.Apply(t.Context(), strings.ReplaceAll(secretObjects, "NAMESPACE", b.namespace)))

	pv := b.claimed(testbed.ClaimOptions{Name: "data", Class: "templated"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	id, err := ids.ParseSnapshotID(snapshot)
	require.NoError(t, err)
	require.Equal(t, ids.SecretRef{Namespace: b.namespace, Name: "taker"}, id.DeleteSecret)
	require.Equal(t, ids.SecretRef{Namespace: "velero", Name: "lister"}, id.ListSecret)
	b.onlySnapshots(before, 1)
	restored, content := b.restoreAs(b.Snapshotter, snapshot, pv, "restored")
	require.Equal(t, "first", content)
	const maker = "volume.kubernetes.io/provisioner-deletion-secret-name"
	require.Equal(t, b.namespace+"-data", restored.Annotations[maker], "the secret of the old claim, not that of the restore's")
	require.Equal(t, pv.Annotations[maker], restored.Annotations[maker])
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	b.soonOnlySnapshots(before, 0)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
