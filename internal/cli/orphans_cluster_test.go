package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// orphans has snapshots in the cluster that no backup names, among others that one
// does.
func (i *installed) orphans(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	alone(t)
	i.put(backuptest.New("nightly").Objects(t))
	i.put(map[string][]byte{"backups/here/here.tar.gz": []byte("x"), "backups/begun/begun-logs.gz": []byte("x")})
	step := i.unneeded(exitFailed)[stepFolders]
	require.Contains(t, step.Detail, "of 2 folders Velero makes no Backup")
	for _, name := range []string{"here", "begun"} {
		require.NoError(t, i.Apply(t.Context(), `{apiVersion: velero.io/v1, kind: Backup, metadata: {name: `+name+`, namespace: velero}, spec: {}}`))
	}
	require.Equal(t, check.OK, i.unneeded(exitFailed)[stepFolders].Outcome, "the cluster has their Backups")
	step = i.unneeded(exitFailed)[stepOrphans]
	require.Equal(t, check.OK, step.Outcome, "%+v", step)
	require.Contains(t, step.Detail, "what only the storage has cannot be listed")

	killed := "longshore-snapshot-5cbf8f5e-0d0a-4f2c-9a56-0e2b1f3c4d5e"
	ours := map[string]string{"app.kubernetes.io/managed-by": "longshore", "longshore.dev/purpose": "snapshot", "longshore.dev/velero": "velero"}
	running := strings.Replace(killed, "5e", "5f", 1)
	i.content(killed, "", ours, map[string]string{"longshore.dev/deadline": "2026-01-01T00:00:00Z", "longshore.dev/backup": "nightly-0"})
	i.content(running, "", ours, map[string]string{"longshore.dev/deadline": "2100-01-01T00:00:00Z"})
	i.content("lost", "h1", map[string]string{"velero.io/backup-name": "deleted"}, nil)
	i.content("kept", "h2", map[string]string{"velero.io/backup-name": "nightly"}, nil)
	i.content("elsewhere", "h3", map[string]string{"velero.io/backup-name": "weekly"}, nil)
	i.content("named", "6f1c", map[string]string{"velero.io/backup-name": "renamed"}, nil) // backuptest.SnapshotID
	i.content("restored", "h4", map[string]string{"velero.io/backup-name": "deleted", "velero.io/restore-name": "r"}, nil)
	i.content("users", "h5", nil, nil)
	i.journal("5cbf8f5e-0d0a-4f2c-9a56-0e2b1f3c4d5e", "nightly", snapshotter.StoreName(i.s3.Endpoint, storedIn, ""))
	i.journal("5cbf8f5e-0d0a-4f2c-9a56-0e2b1f3c4d5f", "nightly", "")
	require.NoError(t, i.CreateNamespace(t.Context(), "velero-two"))
	require.NoError(t, i.Apply(t.Context(), `{apiVersion: velero.io/v1, kind: Backup, metadata: {name: weekly, namespace: velero-two}, spec: {}}`))

	step = i.unneeded(exitFailed)[stepOrphans]
	require.Equal(t, check.Warning, step.Outcome, "%+v", step)
	require.Contains(t, step.Detail, "VolumeSnapshotContent "+killed+` has a snapshot for backup "nightly-0"`)
	require.Contains(t, step.Detail, "VolumeSnapshotContent lost is of backup deleted, which is neither in this location nor in the cluster")
	require.Contains(t, step.Detail, `snapshot h6 was taken for backup "nightly", and no stored list names it`)
	require.Contains(t, step.Detail, "ConfigMap longshore-journal-5cbf8f5e-0d0a-4f2c-9a56-0e2b1f3c4d5f: whether the backup has its snapshots cannot be told")
	for _, name := range []string{running, "kept", "elsewhere", "named", "restored", "users"} {
		require.NotContains(t, step.Detail, "VolumeSnapshotContent "+name)
	}
	require.Contains(t, step.Hint, "velero-plugin-longshore sweep")
}

// journal writes down that snapshot h6 was taken for a backup, long ago.
func (i *installed) journal(uid, backup, store string) {
	i.Helper()
	location := "default"
	if store == "" {
		location = ""
	}
	maps := i.Kube.CoreV1().ConfigMaps("velero")
	page, err := maps.Create(i.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: "longshore-journal-" + uid, Labels: map[string]string{"app.kubernetes.io/managed-by": "longshore", "longshore.dev/purpose": "journal", "longshore.dev/velero": "velero"},
			Annotations: map[string]string{
				"longshore.dev/deadline": "2026-01-01T00:00:00Z", "longshore.dev/backup": backup, "longshore.dev/backup-uid": "gone",
				"longshore.dev/backup-location": location, "longshore.dev/backup-store": store,
			},
		},
		Data: map[string]string{"call": strings.Replace(backuptest.SnapshotID, "6f1c", "h6", 1)},
	}, metav1.CreateOptions{})
	require.NoError(i, err)
	i.Cleanup(func() { require.NoError(i, maps.Delete(context.Background(), page.Name, metav1.DeleteOptions{})) })
}

// unneeded verifies all backups and returns the steps about the location.
func (i *installed) unneeded(status int) map[string]check.Result {
	i.Helper()
	var told struct{ Steps []check.Result }
	require.NoError(i, json.NewDecoder(strings.NewReader(i.run(status, "verify", "--all", "-o", "json"))).Decode(&told))
	return byName(told.Steps)
}

// put stores objects while the test runs.
func (i *installed) put(objects map[string][]byte) {
	i.Helper()
	client, err := i.s3.Client()
	require.NoError(i, err)
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		_, err := client.Client.PutObject(i.Context(), storedIn, key, bytes.NewReader(objects[key]), int64(len(objects[key])), minio.PutObjectOptions{})
		require.NoError(i, err)
	}
	i.Cleanup(func() {
		for key := range objects {
			require.NoError(i, client.RemoveObject(context.Background(), storedIn, key, minio.RemoveObjectOptions{}))
		}
	})
}

// content makes a VolumeSnapshotContent of a driver that nobody has, for a snapshot,
// or with the handle "" for one that is still to be taken.
func (i *installed) content(name, handle string, labels, annotations map[string]string) {
	i.Helper()
	source := snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: &handle}
	if handle == "" {
		source = snapshotv1.VolumeSnapshotContentSource{VolumeHandle: &name}
	}
	contents := i.Snapshots.VolumeSnapshotContents()
	_, err := contents.Create(i.Context(), &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: annotations},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			DeletionPolicy: snapshotv1.VolumeSnapshotContentRetain, Driver: "nobody.example", Source: source,
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: "velero", Name: name},
		},
	}, metav1.CreateOptions{})
	require.NoError(i, err)
	i.Cleanup(func() {
		ctx := context.Background()
		require.NoError(i, contents.Delete(ctx, name, metav1.DeleteOptions{}))
		_, _ = contents.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}) // it may be gone
	})
}
