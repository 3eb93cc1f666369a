package snapshotter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const veleroAccount = "system:serviceaccount:velero:velero"

// asVelero is the cluster's configuration with the rights of Velero's account.
func (b *bench) asVelero() *rest.Config {
	config := rest.CopyConfig(b.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: veleroAccount}
	return config
}

// manifest is a file of docs, changed for the staging namespace.
func manifest(t *testing.T, file, staging string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", file))
	require.NoError(t, err)
	return strings.NewReplacer(
		"namespace: velero # or the stagingNamespace", "namespace: "+staging,
		"orValue('') == 'velero'", "orValue('') == '"+staging+"'",
	).Replace(string(text))
}

// confine applies docs/admission.yaml for the length of the test.
func (b *bench) confine(staging string) {
	b.Helper()
	require.NoError(b, b.Apply(b.Context(), manifest(b.T, "admission.yaml", staging)))
	b.Cleanup(func() {
		for _, kind := range []string{"validatingadmissionpolicybindings", "validatingadmissionpolicies"} {
			client := b.Dynamic.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: kind})
			for _, name := range []string{"longshore-persistentvolumes", "longshore-objects"} {
				require.NoError(b, client.Delete(b.background(), name, metav1.DeleteOptions{}))
			}
		}
	})
}

// othersObjects bear our names or our labels, but not both.
const othersObjects = `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotContent
metadata: {name: longshore-others, labels: {app.kubernetes.io/managed-by: backup-tool}}
spec:
  deletionPolicy: Retain
  driver: nobody.example.com
  source: {snapshotHandle: snap-1}
  volumeSnapshotRef: {name: nothing, namespace: velero}
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: others, namespace: velero, labels: {app.kubernetes.io/managed-by: longshore}}
spec: {source: {volumeSnapshotContentName: nothing}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: longshore-others, namespace: velero}
spec: {accessModes: [ReadWriteOnce], storageClassName: longshore-others, resources: {requests: {storage: 1Gi}}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: longshore-others}
provisioner: nobody.example.com
`

// TestClusterConfined: with docs/admission.yaml Velero's account, which may do
// everything by RBAC, cannot harm what others have.
func TestClusterConfined(t *testing.T) {
	b := onCluster(t, nil)
	require.NoError(t, b.Apply(t.Context(), `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: velero-may-do-all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, namespace: velero, name: velero}]
`+"---"+othersObjects))
	velero, err := dynamic.NewForConfig(b.asVelero())
	require.NoError(t, err)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first").Name

	volumes, claims, classes := groupKind("", "persistentvolumes"), groupKind("", "persistentvolumeclaims"), groupKind("storage.k8s.io", "storageclasses")
	snapshots, contents := groupKind("snapshot.storage.k8s.io", "volumesnapshots"), groupKind("snapshot.storage.k8s.io", "volumesnapshotcontents")
	dry := []string{metav1.DryRunAll} // admission is asked, and nothing is changed
	patch := func(kind schema.GroupVersionResource, name, patch string) func() error {
		return func() error {
			_, err := velero.Resource(kind).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{DryRun: dry})
			return err
		}
	}
	remove := func(kind schema.GroupVersionResource, namespace, name string) func() error {
		return func() error {
			return velero.Resource(kind).Namespace(namespace).Delete(t.Context(), name, metav1.DeleteOptions{DryRun: dry})
		}
	}
	b.Cleanup(func() {
		for kind, name := range map[schema.GroupVersionResource]string{snapshots: "others", claims: "longshore-others"} {
			require.NoError(b, b.Dynamic.Resource(kind).Namespace("velero").Delete(b.background(), name, metav1.DeleteOptions{}))
		}
		for kind, name := range map[schema.GroupVersionResource]string{contents: "longshore-others", classes: "longshore-others", groupKind("rbac.authorization.k8s.io", "clusterrolebindings"): "velero-may-do-all"} {
			require.NoError(b, b.Dynamic.Resource(kind).Delete(b.background(), name, metav1.DeleteOptions{}))
		}
	})

	require.NoError(t, patch(volumes, pv, `{"metadata":{"labels":{"before":"1"}}}`)(), "the account may do it")
	b.confine("velero")
	refused := map[string]func() error{
		"delete a volume":            remove(volumes, "", pv),
		"have a volume deleted":      patch(volumes, pv, `{"spec":{"claimRef":null}}`),
		"give a volume another":      patch(volumes, pv, `{"spec":{"claimRef":{"namespace":"velero","name":"longshore-restore-x"}}}`),
		"delete a claim":             remove(claims, b.namespace, "data"),
		"delete a claim of our name": remove(claims, "velero", "longshore-others"),
		"delete a VolumeSnapshot":    remove(snapshots, "velero", "others"),
		"delete a content":           remove(contents, "", "longshore-others"),
		"have a snapshot deleted":    patch(contents, "longshore-others", `{"spec":{"deletionPolicy":"Delete"}}`),
		"label a content as ours":    patch(contents, "longshore-others", `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"longshore"}}}`),
		"delete a StorageClass":      remove(classes, "", testbed.ClassImmediate),
		"take over a StorageClass":   patch(classes, "longshore-others", `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"longshore"}}}`),
	}
	require.Eventually(t, func() bool { return isConfined(refused["have a volume deleted"]()) }, 20*time.Second, 100*time.Millisecond)
	require.Eventually(t, func() bool { return isConfined(refused["take over a StorageClass"]()) }, 20*time.Second, 100*time.Millisecond)
	for what, try := range refused {
		require.True(t, isConfined(try()), "%s: %v", what, try())
	}
	require.NoError(t, patch(volumes, pv, `{"metadata":{"labels":{"after":"1"}},"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)(), "as Velero does with volumes restored from files")
	_, err = b.Dynamic.Resource(volumes).Patch(t.Context(), pv, types.MergePatchType, []byte(`{"spec":{"claimRef":null}}`), metav1.PatchOptions{DryRun: dry})
	require.NoError(t, err, "others are not confined")
}

func groupKind(group, plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural}
}

// isConfined tells whether it was a policy of docs/admission.yaml that refused.
func isConfined(err error) bool {
	return (apierrors.IsInvalid(err) || apierrors.IsForbidden(err)) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'longshore-")
}
