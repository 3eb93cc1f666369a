package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDrillArguments wants what is wrong to be told before anything is made.
func TestDrillArguments(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("KUBECONFIG", none)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	job := filepath.Join(t.TempDir(), "job.yaml")
	require.NoError(t, os.WriteFile(job, []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"), 0o600))
	for says, args := range map[string][]string{
		"say which backup":                                   {},
		"one backup at most, not a b":                        {"a", "b"},
		"a backup and --latest-of exclude each other":        {"a", "--latest-of", "nightly"},
		"its folder is not there":                            {"a", "--metrics", filepath.Join(none, "drill.prom")},
		"--push: the address of a Pushgateway":               {"a", "--push", "gateway:9091"},
		"there is no command behind --":                      {"a", "--"},
		`--until "never" is not accepted; it takes restored`: {"a", "--until", "never"},
		"--timeout, --test-timeout and --clean-up-timeout":   {"a", "--timeout", "0s"},
		"must be more than 0, --max-age not less":            {"a", "--clean-up-timeout", "0s"},
		"--test-job and a command exclude each other":        {"a", "--test-job", job, "--", "true"},
		"it is v1 Pod with the name \"a\", and must be":      {"a", "--test-job", job},
		"no such file":                      {"a", "--test-job", job + "x"},
		"persistentvolumes is not accepted": {"a", "--exclude-resources", "persistentvolumes"},
		`"nodes" is no kind of the cluster`: {"a", "--include-cluster-resources", "nodes"},
		`"settings" is not of the form`:     {"a", "--expect", "settings"},
		`invalid argument "old"`:            {"a", "--max-age", "old"},
		"no cluster in KUBECONFIG":          {"a", "--", "true"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUsage, Run(append([]string{"drill"}, args...), "test", &stdout, &stderr), "%v: %s%s", args, stdout.String(), stderr.String())
		require.Contains(t, stderr.String(), says, args)
	}
}
