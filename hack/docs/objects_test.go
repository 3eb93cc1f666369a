package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestObjects applies every Kubernetes object of the documents and examples, by
// server-side apply, to a real API server with the real definitions of Velero
// and of the CSI snapshots. It refuses fields that the definitions do not have.
// Fragments ("# of a KIND") and objects of other projects ("# for PROJECT") are
// left out.
func TestObjects(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	velero := installed(t)
	apply := func(where, text string) {
		require.NoError(t, velero.Cluster.Apply(t.Context(), text), where)
	}
	for path, text := range examples(t) {
		if filepath.Base(path) != prometheusRule { // TestRules
			apply(path, text)
		}
	}
	for _, b := range blocksOf(t, "yaml") {
		if !strings.HasPrefix(b.text, "# of a ") && !strings.HasPrefix(b.text, "# for ") {
			apply(b.where, b.text)
		}
	}
	for _, o := range readValues(t).objects() {
		apply("helm-values.yaml", o.manifest(t))
	}
	for _, c := range commands(t) {
		if slices.Contains(c.words, "patch") {
			patch(t, velero, c)
		}
	}
	require.ErrorContains(t, velero.Cluster.Apply(t.Context(), wrongField), "objectStorag", "a wrong field is refused")
	runsRestricted(t, velero.Cluster)
}

// runsRestricted wants the pods of the CronJobs to be accepted where the strictest of
// the Pod Security Standards is enforced, and to have a root that nobody writes to.
func runsRestricted(t *testing.T, cluster *testbed.Cluster) {
	t.Helper()
	const strict = "restricted"
	require.NoError(t, cluster.Apply(t.Context(), `{apiVersion: v1, kind: Namespace, metadata: {name: restricted, labels: {pod-security.kubernetes.io/enforce: restricted}}}`))
	jobs, err := cluster.Kube.BatchV1().CronJobs("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, jobs.Items)
	pods := cluster.Kube.CoreV1().Pods(strict)
	for _, job := range jobs.Items {
		spec := job.Spec.JobTemplate.Spec.Template.Spec
		for _, c := range spec.Containers {
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, job.Name)
		}
		_, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: job.Name}, Spec: spec}, metav1.CreateOptions{})
		require.NoError(t, err, job.Name)
		spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
		_, err = pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: job.Name + "-not"}, Spec: spec}, metav1.CreateOptions{})
		require.ErrorContains(t, err, "allowPrivilegeEscalation", "the standard is enforced")
	}
}

const wrongField = `{apiVersion: velero.io/v1, kind: BackupStorageLocation, metadata: {name: wrong, namespace: velero},
 spec: {provider: longshore.dev/s3-csi, objectStorag: {bucket: backups}}}`

// installed is a cluster in which Velero is installed, but does not run.
func installed(t *testing.T) *testbed.VeleroServer {
	t.Helper()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	velero, err := bed.InstallVelero(t.Context(), cluster, testbed.VeleroOptions{S3: s3, Bucket: "backups"})
	require.NoError(t, err)
	return velero
}

// manifest writes an object of the Helm chart's values.
func (o object) manifest(t *testing.T) string {
	t.Helper()
	made := map[string]any{
		"kind": o.Kind, "apiVersion": "velero.io/v1",
		"metadata": map[string]any{"name": "by-helm", "namespace": "velero", "labels": o.Metadata.Labels},
	}
	spec := map[string]any{"provider": o.Spec.Provider, "config": o.Spec.Config}
	switch o.Kind {
	case "ConfigMap":
		made["apiVersion"], made["data"] = "v1", o.Data
	case "BackupStorageLocation":
		spec["objectStorage"] = map[string]any{"bucket": o.Spec.ObjectStorage.Bucket, "prefix": o.Spec.ObjectStorage.Prefix}
		fallthrough
	default:
		made["spec"] = spec
	}
	text, err := json.Marshal(made)
	require.NoError(t, err)
	return string(text)
}

// patch does what a kubectl patch of a Velero object in the documents does:
// kubectl -n velero patch KIND NAME --type merge -p PATCH.
func patch(t *testing.T, velero *testbed.VeleroServer, c command) {
	t.Helper()
	words := c.words[slices.Index(c.words, "patch"):]
	require.Equal(t, []string{"--type", "merge", "-p"}, words[3:6], c.where)
	_, err := velero.Objects(words[1]+"s").Patch(context.WithoutCancel(t.Context()), words[2], types.MergePatchType, []byte(words[6]), metav1.PatchOptions{FieldValidation: metav1.FieldValidationStrict})
	require.NoError(t, err, c.where)
}
