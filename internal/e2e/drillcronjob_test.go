package e2e

import (
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// cronJob runs what the example of a CronJob runs, with the rights that stand there and
// within what its policies leave of them: the drill passes, and a Pushgateway has it.
func (d *drills) cronJob(contents []content) *drillTold {
	d.Helper()
	manifest, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "drill-cronjob.yaml"))
	require.NoError(d, err)
	require.NoError(d, d.cluster.Apply(d.Context(), string(manifest)))
	account, err := d.cluster.Account(d.Context(), d.velero.Namespace, "longshore-drill")
	require.NoError(d, err)
	d.confined(account, contents)
	_, gateway, err := d.bed.StartPushgateway(d.Context())
	require.NoError(d, err)
	job, err := d.cluster.Kube.BatchV1().CronJobs(d.velero.Namespace).Get(d.Context(), "longshore-drill", metav1.GetOptions{})
	require.NoError(d, err)
	args := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Args
	args[slices.Index(args, "--push")+1] = gateway

	d.kubeconfig = account.Kubeconfig
	told := d.run(0, append(args[1:], "--test-job", d.testJob(drilledApp, "test", readsOrder))...)
	require.Equal(d, "Job orders is Complete", told.step("test").Detail)
	require.Equal(d, "orders", told.Backup, "the newest of the schedule")
	resp, err := http.Get(gateway + "/metrics")
	require.NoError(d, err)
	defer resp.Body.Close()
	pushed, err := io.ReadAll(resp.Body)
	require.NoError(d, err)
	const group = `{bucket="` + drillBucket + `",instance="",job="longshore_drill",prefix="",schedule="nightly"} `
	require.Contains(d, string(pushed), "longshore_drill_ok"+group+"1\n")
	require.Contains(d, string(pushed), "longshore_drill_recovery_seconds"+group)
	return told
}

// confined wants the CronJob's account to be refused all that is not a drill's. The API
// server begins to enforce each policy some time after it was made.
func (d *drills) confined(account *testbed.Account, contents []content) {
	d.Helper()
	refused := d.refused(account)
	maps.Copy(refused, d.refusedContents(account, contents))
	for what, do := range refused {
		require.Eventually(d, func() bool { return isPolicy(do()) }, 30*time.Second, 100*time.Millisecond, what)
	}
	require.NoError(d, d.dryRestore(account, "longshore-drill-x", mapped("drill-x-shop")))
	d.mayRemoveContents(account, contents)
}

// dry has the API server do nothing but tell whether it would.
var dry = []string{metav1.DryRunAll}

// refused are the things that a drill's account may not do.
func (d *drills) refused(account *testbed.Account) map[string]func() error {
	core, ctx := account.Kube.CoreV1(), d.Context()
	bound, err := d.cluster.Kube.CoreV1().PersistentVolumeClaims(drilledApp).Get(ctx, "data", metav1.GetOptions{})
	require.NoError(d, err)
	restore := func(name string, spec map[string]any) func() error {
		return func() error { return d.dryRestore(account, name, spec) }
	}
	ofCluster, inPlace := mapped("drill-x-shop"), mapped("drill-x-shop")
	ofCluster["includeClusterResources"], inPlace["existingResourcePolicy"] = true, "update"
	return map[string]func() error{
		"delete a claim": func() error {
			return core.PersistentVolumeClaims(drilledApp).Delete(ctx, "data", metav1.DeleteOptions{DryRun: dry})
		},
		"delete a namespace": func() error { return core.Namespaces().Delete(ctx, drilledApp, metav1.DeleteOptions{DryRun: dry}) },
		"make a namespace": func() error {
			_, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "drill-mine"}}, metav1.CreateOptions{DryRun: dry})
			return err
		},
		"change a volume": func() error {
			patch := []byte(`{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}`)
			_, err := core.PersistentVolumes().Patch(ctx, bound.Spec.VolumeName, types.MergePatchType, patch, metav1.PatchOptions{DryRun: dry})
			return err
		},
		"make a Job": func() error {
			pod := corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "a", Image: "a"}}}
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: pod}}}
			_, err := account.Kube.BatchV1().Jobs(drilledApp).Create(ctx, job, metav1.CreateOptions{DryRun: dry})
			return err
		},
		"change a Backup": func() error {
			_, err := d.asAccount(account, "velero.io", "v1", "backups").Namespace(d.velero.Namespace).Patch(ctx, "orders", types.MergePatchType, []byte(`{"spec": {"ttl": "1s"}}`), metav1.PatchOptions{DryRun: dry})
			return err
		},
		"restore another name":       restore("mine", mapped("drill-x-shop")),
		"restore into the original":  restore("longshore-drill-x", map[string]any{"includedNamespaces": []any{drilledApp}}),
		"restore into another":       restore("longshore-drill-x", mapped("bank")),
		"restore everything":         restore("longshore-drill-x", map[string]any{"includedNamespaces": []any{"*"}, "namespaceMapping": map[string]any{drilledApp: "drill-x"}}),
		"restore all there is":       restore("longshore-drill-x", map[string]any{}),
		"restore what is of cluster": restore("longshore-drill-x", ofCluster),
		"restore over what is there": restore("longshore-drill-x", inPlace),
	}
}

// mapped is the spec of a Restore into another namespace.
func mapped(to string) map[string]any {
	return map[string]any{"includedNamespaces": []any{drilledApp}, "namespaceMapping": map[string]any{drilledApp: to}}
}

// dryRestore asks whether the account may make a Restore.
func (d *drills) dryRestore(account *testbed.Account, name string, spec map[string]any) error {
	spec["backupName"] = "orders"
	_, err := d.asAccount(account, "velero.io", "v1", "restores").Namespace(d.velero.Namespace).Create(d.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "velero.io/v1", "kind": "Restore", "metadata": map[string]any{"name": name}, "spec": spec,
	}}, metav1.CreateOptions{DryRun: dry})
	return err
}

// asAccount is a client for a kind with the account's rights.
func (d *drills) asAccount(account *testbed.Account, group, version, resource string) dynamic.NamespaceableResourceInterface {
	config, err := clientcmd.BuildConfigFromFlags("", account.Kubeconfig)
	require.NoError(d, err)
	client, err := dynamic.NewForConfig(config)
	require.NoError(d, err)
	return client.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
}

// isPolicy tells whether it was a policy of the CronJob's manifest that refused.
func isPolicy(err error) bool {
	return err != nil && (apierrors.IsInvalid(err) || apierrors.IsForbidden(err)) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'longshore-drill-")
}
