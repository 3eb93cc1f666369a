package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/story"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	pluginAgent   = "velero-plugin-longshore"
	veleroAccount = "system:serviceaccount:velero:velero"
)

// TestLeastRights takes the steps of the demo with a plugin that runs as Velero's
// service account, and that account has the rights of docs/rbac.yaml and no
// others. Velero's server keeps its own.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	r := &restricted{Story: &story.Story{Bed: testbed.ForTest(t)}}
	instead := map[string]func(context.Context) (string, error){
		"Start Kubernetes with a CSI driver": r.startCluster,
		"Install Velero with the plugin":     r.installVelero,
	}
	for _, step := range r.Steps() {
		if step.Name == "Back up" {
			r.refusedWithout(t)
			r.grant(t)
		}
		if do := instead[step.Name]; do != nil {
			step.Do = do
		}
		detail, err := step.Do(t.Context())
		require.NoError(t, err, step.Name)
		t.Logf("%s: %s", step.Name, detail)
	}
	r.requireRequests(t)
}

// restricted is the story with a plugin that has a kubeconfig of its own.
type restricted struct {
	*story.Story
	account *testbed.Account
	granted time.Time
}

func (r *restricted) startCluster(ctx context.Context) (detail string, err error) {
	r.Cluster, err = r.Bed.StartCluster(ctx, testbed.ClusterOptions{Audit: true})
	return "its API server notes every request", err
}

// installVelero takes from the service account what `velero install` gave it, and
// starts the server, an administrator by its kubeconfig, with a plugin that is
// that service account.
func (r *restricted) installVelero(ctx context.Context) (string, error) {
	wrapper := filepath.Join(r.Bed.Dir(), pluginAgent)
	var err error
	r.Velero, err = r.Bed.InstallVelero(ctx, r.Cluster, testbed.VeleroOptions{
		S3: r.S3, Bucket: story.Bucket, Prefix: story.Prefix, Plugins: []string{wrapper},
	})
	if err != nil {
		return "", err
	}
	if err := r.Cluster.Kube.RbacV1().ClusterRoleBindings().Delete(ctx, "velero", metav1.DeleteOptions{}); err != nil {
		return "", err
	}
	if r.account, err = r.Cluster.Account(ctx, "velero", "velero"); err != nil {
		return "", err
	}
	plugin, err := testbed.Plugin.Path(ctx)
	if err != nil {
		return "", err
	}
	// A plugin tells Velero its own name as the program to start for each of its
	// kinds, so it has to bear the wrapper's.
	script := fmt.Sprintf("#!/bin/bash\nKUBECONFIG='%s' exec -a \"$0\" '%s' \"$@\"\n", r.account.Kubeconfig, plugin)
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		return "", err
	}
	if err := r.Velero.Serve(ctx); err != nil {
		return "", err
	}
	return "the plugin is " + veleroAccount, r.Velero.WaitLocation(ctx, testbed.DefaultLocation)
}

// refusedWithout shows that the plugin has the account's rights and not the
// server's: without any, no snapshot is taken, and Velero's log says who was
// refused what.
func (r *restricted) refusedWithout(t *testing.T) {
	logs := failingBackup(t, r.Velero, story.Namespace)
	requireLine(t, logs, "level=error", "forbidden", veleroAccount, "persistentvolumes")
	require.Empty(t, leftovers(t, r.Story, r.Cluster).StorageSnapshots)
	veleroCLI(t, r.Velero, "backup", "delete", story.Namespace, "--confirm")
	require.Eventually(t, func() bool {
		known, err := story.BackupNames(t.Context(), r.Velero)
		return err == nil && len(known) == 0
	}, waitLimit, 200*time.Millisecond)
}

// grant applies docs/rbac.yaml, and shows that it gives what it says and not more.
func (r *restricted) grant(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "..", "docs", "rbac.yaml"))
	require.NoError(t, err)
	require.NoError(t, r.Cluster.Apply(t.Context(), string(manifest)))
	core := r.account.Kube.CoreV1()
	require.Eventually(t, func() bool {
		_, err := core.PersistentVolumes().List(t.Context(), metav1.ListOptions{})
		_, errHere := core.PersistentVolumeClaims("velero").List(t.Context(), metav1.ListOptions{})
		return err == nil && errHere == nil
	}, 10*time.Second, 50*time.Millisecond)
	r.granted = time.Now()

	for what, try := range map[string]func() error{
		"secrets of Velero": func() error {
			_, err := core.Secrets("velero").List(t.Context(), metav1.ListOptions{})
			return err
		},
		"to delete claims of the application": func() error {
			return core.PersistentVolumeClaims(story.Namespace).Delete(t.Context(), "nosuch", metav1.DeleteOptions{})
		},
		"a pod": func() error {
			_, err := core.Pods("velero").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, metav1.CreateOptions{})
			return err
		},
	} {
		err := try()
		require.True(t, apierrors.IsForbidden(err), "%s: %v", what, err)
	}
}

// requireRequests wants every request of the plugin to be the account's, and none
// refused since it had its rights.
func (r *restricted) requireRequests(t *testing.T) {
	requests, err := r.Cluster.Requests(time.Time{})
	require.NoError(t, err)
	did := map[string]int{}
	for _, request := range requests {
		if request.Agent != pluginAgent {
			continue
		}
		require.Equal(t, veleroAccount, request.User, "%+v", request)
		if request.Time.After(r.granted) {
			require.NotEqual(t, 403, request.Code, "%+v", request)
			did[request.Verb+" "+request.Object]++
		}
	}
	for _, must := range []string{
		"create volumesnapshotcontents", "delete volumesnapshotcontents", "create volumesnapshots",
		"create persistentvolumeclaims", "create storageclasses", "delete persistentvolumes", "get backups",
		"create configmaps", "delete configmaps", "get backupstoragelocations", "get volumesnapshotlocations",
	} {
		require.NotZero(t, did[must], "%s is not among what the plugin did: %v", must, did)
	}
	require.True(t, slices.ContainsFunc(requests, func(q testbed.Request) bool { return q.User == "admin" && q.Agent == "velero-server" }), "Velero's server is not the account")
	t.Logf("the plugin did %v", did)
}
