package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	for _, test := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{nil, exitUsage, "", "Velero starts it as a plugin"},
		{[]string{"help"}, exitOK, "install [DIR]", ""},
		{[]string{"version"}, exitOK, "v1.2.3\n", ""},
		{[]string{"frobnicate"}, exitUsage, "", `unknown command "frobnicate"`},
		{[]string{"install", "a", "b"}, exitFailed, "", "one folder at most"},
		{[]string{"install", "/nonexistent/folder"}, exitFailed, "", "install into /nonexistent/folder"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, test.code, Run(test.args, "v1.2.3", &stdout, &stderr), test.args)
		require.Contains(t, stdout.String(), test.stdout)
		require.Contains(t, stderr.String(), test.stderr)
	}
}

func TestInstall(t *testing.T) {
	self := filepath.Join(t.TempDir(), "plugin")
	require.NoError(t, os.WriteFile(self, []byte("binary"), 0o600))
	target := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(target, "plugin"), []byte("older"), 0o600))

	installed, err := install(self, target)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(target, "plugin"), installed)
	content, err := os.ReadFile(installed)
	require.NoError(t, err)
	require.Equal(t, "binary", string(content))
	info, err := os.Stat(installed)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode())
	left, err := os.ReadDir(target)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// TestInstallTakesOver has a volume that holds what a killed installation left.
func TestInstallTakesOver(t *testing.T) {
	self := filepath.Join(t.TempDir(), "plugin")
	require.NoError(t, os.WriteFile(self, []byte("binary"), 0o600))
	target := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(target, ".installing-plugin"), []byte("half of a longer binary"), 0o600))

	installed, err := install(self, target)
	require.NoError(t, err)
	content, err := os.ReadFile(installed)
	require.NoError(t, err)
	require.Equal(t, "binary", string(content))
	left, err := os.ReadDir(target)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestInstallLeavesNothingWhenItFails(t *testing.T) {
	self := filepath.Join(t.TempDir(), "plugin")
	require.NoError(t, os.WriteFile(self, []byte("binary"), 0o600))
	target := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(target, "plugin", "in the way"), 0o700))

	_, err := install(self, target)
	require.Error(t, err)
	left, err := os.ReadDir(target)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
