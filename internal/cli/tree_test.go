package cli

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// completed are the answers to a shell that asks how the last argument may go on.
func completed(t *testing.T, args ...string) []string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, Run(append([]string{"__complete"}, args...), "test", &stdout, &stderr), stderr.String())
	var words []string
	for line := range strings.Lines(stdout.String()) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !strings.HasPrefix(word, ":") {
			words = append(words, word)
		}
	}
	return words
}

func TestCompletion(t *testing.T) {
	require.Subset(t, completed(t, ""), []string{"check", "verify", "print", "version", "completion"})
	require.Equal(t, []string{"objectstore", "snapshotter"}, completed(t, "check", ""))
	require.Equal(t, []string{"--credentials-file"}, completed(t, "check", "objectstore", "--cred"))
	require.Equal(t, []string{"--latest-of"}, completed(t, "verify", "--lat"))
	require.Equal(t, []string{"text", "json"}, completed(t, "describe", "-o", ""))
	require.Equal(t, []string{"rbac", "admission", "policy", "lifecycle", "cronjob", "drill-cronjob"}, completed(t, "print", ""))
	require.Contains(t, completed(t, "download", "--"), "--force")
}

// TestCompletionScripts has the shells that are here read their scripts.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitOK, Run([]string{"completion", shell}, "test", &stdout, &stderr))
		require.Contains(t, stdout.String(), "__complete")
		if path, err := exec.LookPath(shell); err == nil && shell != "powershell" {
			command := exec.CommandContext(t.Context(), path, "-n")
			command.Stdin = &stdout
			out, err := command.CombinedOutput()
			require.NoError(t, err, string(out))
		}
	}
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitUsage, Run([]string{"completion", "tcsh"}, "test", &stdout, &stderr))
	require.Contains(t, stderr.String(), "tcsh")
}

// TestTree: the tree has each command that the help names, with its flags and its help.
func TestTree(t *testing.T) {
	root := Tree()
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	require.Subset(t, names, []string{"check", "verify", "logs", "describe", "download", "sweep", "install", "print", "version"})
	verify, _, err := root.Find([]string{"verify"})
	require.NoError(t, err)
	require.Equal(t, "verify BACKUP... | --all | --latest-of SCHEDULE", verify.Use)
	require.Equal(t, "prove that backups can be restored: objects, snapshots, and the cluster", verify.Short)
	require.Contains(t, verify.Long, "\n      velero-plugin-longshore verify nightly")
	require.NotNil(t, verify.Flags().Lookup("latest-of"))
	check, _, err := root.Find([]string{"check", "snapshotter"})
	require.NoError(t, err)
	require.NotNil(t, check.Flags().Lookup("storage-class"))
}
