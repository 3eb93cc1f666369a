package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestDrillArguments wants what is wrong to be told before anything is made.
func TestDrillArguments(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("KUBECONFIG", none)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	job := filepath.Join(t.TempDir(), "job.yaml")
	require.NoError(t, os.WriteFile(job, []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"), 0o600))
	for says, args := range map[string][]string{
		"say which backup, or --latest-of a schedule":              {},
		"one backup at most, not a b":                              {"a", "b"},
		"a backup and --latest-of exclude each other":              {"a", "--latest-of", "nightly"},
		"its folder is not there":                                  {"a", "--metrics", filepath.Join(none, "drill.prom")},
		"--push: the address of a Pushgateway":                     {"a", "--push", "gateway:9091"},
		"there is no command behind --":                            {"a", "--"},
		`--until "never" is not accepted; it takes restored`:       {"a", "--until", "never"},
		"--timeout, --test-timeout and --clean-up-timeout":         {"a", "--timeout", "0s"},
		"must be more than 0, --max-age not less":                  {"a", "--clean-up-timeout", "0s"},
		"--test-job and a command exclude each other":              {"a", "--test-job", job, "--", "true"},
		"it is v1 Pod with the name \"a\", and must be":            {"a", "--test-job", job},
		"--test-job " + job + "x: no such file or directory; name": {"a", "--test-job", job + "x"},
		"persistentvolumes is not accepted":                        {"a", "--exclude-resources", "persistentvolumes"},
		"--exclude-resources persistentvolumes":                    {"a", "--exclude-resources", "ingresses,PV"},
		`"nodes" is no kind of the cluster`:                        {"a", "--include-cluster-resources", "nodes"},
		`--expect: "settings" is not of the form`:                  {"a", "--expect", "settings"},
		`--expect-not: "settings" is not of the form`:              {"a", "--expect-not", "settings"},
		`--max-age "26" is not accepted; it takes a time such as 90s, 30m or 26h; see velero-plugin-longshore drill --help`: {"a", "--max-age", "26"},
		"; name a cluster by --kubeconfig or --context":                                                                     {"a", "--", "true"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUsage, Run(append([]string{"drill"}, args...), "test", &stdout, &stderr), "%v: %s%s", args, stdout.String(), stderr.String())
		require.Contains(t, stderr.String(), says, args)
	}
}

// TestDrillElsewhere: a drill that reads another place than Velero restores from does not
// begin. One that reaches the same place by another address does.
func TestDrillElsewhere(t *testing.T) {
	const none = "http://127.0.0.1:1" // nobody answers there
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, http.MethodGet, r.Method, "nothing is made")
		w.Header().Set("Content-Type", "application/json")
		switch path.Base(r.URL.Path) {
		case "nightly-1":
			fmt.Fprint(w, `{"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "nightly-1"}, "spec": {"storageLocation": "default"}}`)
		case "backupstoragelocations":
			const location = `{"metadata": {"namespace": "velero", "name": %q}, "spec": {"objectStorage": {"bucket": %q, "prefix": "p"}, "config": {"s3Url": %q, "maxRetries": "0"}}}`
			fmt.Fprintf(w, `{"items": [`+location+`, `+location+`]}`, "default", "first", none, "other", "second", none)
		case "configmaps":
			fmt.Fprint(w, `{"kind": "ConfigMapList", "apiVersion": "v1", "items": []}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(api.Close)
	dir := t.TempDir()
	kubeconfig, credentials, file := testbed.Kubeconfig(t, api.URL), filepath.Join(dir, "credentials"), filepath.Join(dir, "location.yaml")
	require.NoError(t, testbed.WriteCredentials(credentials, "access", "secretsecretsecret"))
	require.NoError(t, os.WriteFile(file, []byte(`
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: copy}
spec:
  objectStorage: {bucket: first, prefix: /p/}
  config: {s3Url: "http://127.0.0.1:2", maxRetries: "0"}
`), 0o600))
	for name, c := range map[string]struct {
		args []string
		says string // "" if it begins
	}{
		"as Velero":       {nil, ""},
		"by name":         {[]string{"-l", "default"}, ""},
		"by another way":  {[]string{"--file", file}, ""},
		"another name":    {[]string{"-l", "other"}, "would be read from BackupStorageLocation velero/other: bucket second, prefix p, and Velero"},
		"another bucket":  {[]string{"--bucket", "third"}, "would be read from BackupStorageLocation velero/default: bucket third, prefix p, and Velero"},
		"another prefix":  {[]string{"--prefix", "q"}, "would be read from BackupStorageLocation velero/default: bucket first, prefix q, and Velero"},
		"another by file": {[]string{"--file", file, "--bucket", "third"}, "would be read from BackupStorageLocation copy: bucket third, prefix /p/, and Velero"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := Run(append([]string{"drill", "nightly-1", "-n", "velero", "--kubeconfig", kubeconfig, "--credentials-file", credentials}, c.args...), "test", &stdout, &stderr)
			if c.says == "" {
				require.Equal(t, exitFailed, status, stderr.String())
				require.Contains(t, stdout.String(), "backup nightly-1 of BackupStorageLocation")
				return
			}
			require.Equal(t, exitUsage, status, stdout.String())
			require.Contains(t, stderr.String(), "backup nightly-1 "+c.says+" restores it from BackupStorageLocation velero/default: bucket first, prefix p; leave --location, --bucket and --prefix out")
			require.Empty(t, stdout.String())
		})
	}
}
