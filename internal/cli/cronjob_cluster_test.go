package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// cronJob runs what the example of a CronJob runs, with the rights that stand there and
// no others: every check passes, and the result is pushed.
func (i *installed) cronJob(id string) {
	i.Helper()
	manifest, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "verify-cronjob.yaml"))
	require.NoError(i, err)
	require.NoError(i, i.Apply(i.Context(), string(manifest)))
	account, err := i.Account(i.Context(), "velero", "longshore-verify")
	require.NoError(i, err)
	i.awaitRights(account)
	pushed := ""
	gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		pushed = string(text)
	}))
	i.Cleanup(gateway.Close)
	i.put(backupOf(id).Objects(i.T))
	i.content("longshore-snapshot-5cbf8f5e-0d0a-4f2c-9a56-0e2b1f3c4d60", "followed", map[string]string{
		"app.kubernetes.io/managed-by": "longshore", "longshore.dev/purpose": "snapshot", "longshore.dev/velero": "velero", "longshore.dev/operation": "o",
	}, map[string]string{"longshore.dev/deadline": "2100-01-01T00:00:00Z", "longshore.dev/backup": "running"})
	job, err := i.Kube.BatchV1().CronJobs("velero").Get(i.Context(), "longshore-verify", metav1.GetOptions{})
	require.NoError(i, err)
	args := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Args
	args[slices.Index(args, "--push")+1] = gateway.URL

	var out, errs bytes.Buffer
	status := Run(append(args, "-o", "json", "-n", "velero", "--kubeconfig", account.Kubeconfig), "test", &out, &errs)
	require.Equal(i, exitOK, status, "%s%s", out.String(), errs.String())
	var told struct {
		Steps   []check.Result
		Backups []struct{ Steps []check.Result }
	}
	require.NoError(i, json.Unmarshal(out.Bytes(), &told))
	require.Len(i, told.Backups, 1)
	require.Len(i, told.Steps, 4)
	for _, step := range append(told.Steps, told.Backups[0].Steps...) {
		require.Equal(i, check.OK, step.Outcome, "%+v", step)
	}
	require.Contains(i, pushed, `longshore_verify_ok{bucket="`+storedIn+`",prefix=""} 1`)
}

// awaitRights waits until the API server knows what the account may do, which is to
// read one Secret and no others.
func (i *installed) awaitRights(account *testbed.Account) {
	i.Helper()
	core := account.Kube.CoreV1()
	require.Eventually(i, func() bool {
		_, errNodes := core.Nodes().List(i.Context(), metav1.ListOptions{})
		_, errSecret := core.Secrets("velero").Get(i.Context(), "cloud-credentials", metav1.GetOptions{})
		return errNodes == nil && errSecret == nil
	}, 10*time.Second, 50*time.Millisecond)
	_, err := core.Secrets("velero").List(i.Context(), metav1.ListOptions{})
	require.True(i, apierrors.IsForbidden(err), err)
}
