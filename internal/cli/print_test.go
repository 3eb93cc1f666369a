package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/docs"
)

func printed(t *testing.T, status int, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	require.Equal(t, status, Run(append([]string{"print"}, args...), "test", &stdout, &stderr), "%s", stderr.String())
	return stdout.String() + stderr.String()
}

// TestPrintManifests: with the usual names it is the file of the documentation but
// for one paragraph; with others nothing of the usual ones is left.
func TestPrintManifests(t *testing.T) {
	for _, name := range []string{"rbac", "admission"} {
		file, err := docs.Files.ReadFile(name + ".yaml")
		require.NoError(t, err)
		_, usual, _ := strings.Cut(strings.ReplaceAll(string(file), " # or the stagingNamespace", ""), "\napiVersion")
		_, got, _ := strings.Cut(printed(t, exitOK, name), "\napiVersion")
		require.Equal(t, usual, got)

		text := printed(t, exitOK, name, "-n", "backup", "--service-account", "server", "--staging-namespace", "staging")
		require.NotContains(t, text, "It is written for")
		require.Contains(t, text, "\napiVersion")
		for line := range strings.Lines(text) {
			line = strings.ReplaceAll(strings.ReplaceAll(line, "velero.io", ""), "by-velero", "")
			require.False(t, !strings.HasPrefix(line, "#") && strings.Contains(line, "velero"), line)
		}
	}
	text := printed(t, exitOK, "rbac", "-n", "backup", "--service-account", "server", "--staging-namespace", "staging")
	require.Contains(t, text, "- {kind: ServiceAccount, namespace: backup, name: server}")
	require.Contains(t, text, "  namespace: staging\n")
	require.Contains(t, printed(t, exitOK, "admission", "-n", "backup"), "system:serviceaccount:backup:velero")
}

// TestPrintRefuses wants no flag to be passed over, and no name that cannot be one.
func TestPrintRefuses(t *testing.T) {
	for says, args := range map[string][]string{
		"--schedule does not belong to print cronjob, which takes --namespace, --image": {"cronjob", "--schedule", "weekly"},
		"--image does not belong to print rbac":                                         {"rbac", "--image", "x"},
		`--schedule "0 3 * * *" is not accepted`:                                        {"drill-cronjob", "--schedule", "0 3 * * *"},
	} {
		require.Contains(t, printed(t, exitUsage, args...), says)
	}
	var policy map[string]any
	require.NoError(t, json.Unmarshal([]byte(printed(t, exitOK, "policy", "--bucket", `a"b`)), &policy), "it stays JSON")
}

func TestPrintCronJob(t *testing.T) {
	file, err := docs.Files.ReadFile("examples/verify-cronjob.yaml")
	require.NoError(t, err)
	require.Equal(t, string(file), printed(t, exitOK, "cronjob"))
	text := printed(t, exitOK, "cronjob", "-n", "backup", "--image", "registry.example.com/longshore:v1")
	require.Contains(t, text, "image: registry.example.com/longshore:v1\n")
	require.Contains(t, text, "{kind: ServiceAccount, namespace: backup, name: longshore-verify}")
	require.NotContains(t, text, "namespace: velero")
}

func TestPrintDrillCronJob(t *testing.T) {
	file, err := docs.Files.ReadFile("examples/drill-cronjob.yaml")
	require.NoError(t, err)
	require.Equal(t, string(file), printed(t, exitOK, "drill-cronjob"))
	text := printed(t, exitOK, "drill-cronjob", "-n", "backup", "--image", "registry.example.com/longshore:v1", "--schedule", "weekly")
	require.Contains(t, text, "image: registry.example.com/longshore:v1\n")
	require.Contains(t, text, `args: [drill, --latest-of, "weekly", --max-age`)
	require.Equal(t, strings.Count(string(file), "by-drill"), strings.Count(text, "== 'system:serviceaccount:backup:longshore-drill'"))
	require.NotContains(t, text, "namespace: velero")
	require.NotContains(t, text, "serviceaccount:velero")
}

func TestPrintPolicies(t *testing.T) {
	text := printed(t, exitOK, "policy", "--bucket", "mine", "--prefix", "/a/b/")
	require.True(t, json.Valid([]byte(text)))
	require.Contains(t, text, `"arn:aws:s3:::mine/a/b/*"`)
	require.Contains(t, printed(t, exitOK, "policy", "--bucket", "mine"), `"arn:aws:s3:::mine/*"`)
	text = printed(t, exitOK, "lifecycle", "--prefix", "a")
	require.True(t, json.Valid([]byte(text)))
	require.Contains(t, text, `"Prefix": "a/"`)

	require.Contains(t, printed(t, exitUsage, "policy"), "print policy needs --bucket")
	require.Contains(t, printed(t, exitUsage, "roles"), `print "roles": there are rbac, admission, policy, lifecycle, cronjob and drill-cronjob`)
	require.Contains(t, printed(t, exitUsage), "print takes one of")
	require.Contains(t, printed(t, exitUsage, "rbac", "-n", "Backup"), `-n "Backup" is not accepted; it takes the name of a namespace`)
	require.Contains(t, printed(t, exitUsage, "rbac", "--staging-namespace", "a/b"), `--staging-namespace "a/b" is not accepted; it takes the name of a namespace`)
	require.Contains(t, printed(t, exitUsage, "rbac", "--service-account", ""), `--service-account "" is not accepted; it takes the name of a service account`)
}
