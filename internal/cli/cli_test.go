package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/rewrap"
)

func TestRun(t *testing.T) {
	for _, test := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{nil, exitUsage, "", "Velero starts it as a plugin"},
		{[]string{"help"}, exitOK, "install [DIR]", ""},
		{[]string{"version"}, exitOK, "velero-plugin-longshore v1.2.3\ncommit: ", ""},
		{[]string{"--version"}, exitOK, "docs/compatibility.md", ""},
		{[]string{"help", "print"}, exitOK, "--service-account", ""},
		{[]string{"frobnicate"}, exitUsage, "", `unknown command "frobnicate"`},
		{[]string{"install", "a", "b"}, exitUsage, "", "one folder at most"},
		{[]string{"install", "--force"}, exitUsage, "", "no flags, not --force"},
		{[]string{"install", "--help"}, exitOK, "by default /target", ""},
		{[]string{"help", "install"}, exitOK, "by default /target", ""},
		{[]string{"help", "check"}, exitOK, "check objectstore --help", ""},
		{[]string{"help", "check", "objectstore"}, exitOK, "--credentials-file", ""},
		{[]string{"help", "sweep"}, exitOK, "--dry-run", ""},
		{[]string{"help", "verify"}, exitOK, "--latest-of", ""},
		{[]string{"help", "download"}, exitOK, "--force", ""},
		{[]string{"help", "rewrap"}, exitOK, "--seal-plain", ""},
		{[]string{"rewrap", "--all", "nightly"}, exitUsage, "", "exclude each other"},
		{[]string{"rewrap", "a/b"}, exitUsage, "", "is no name"},
		{[]string{"help", "frobnicate"}, exitUsage, "", `unknown command "frobnicate"`},
		{[]string{"check"}, exitUsage, "", "Exit status"},
		{[]string{"check", "bucket"}, exitUsage, "", `check "bucket": it checks objectstore or snapshotter`},
		{[]string{"check", "objectstore", "--buckt", "b"}, exitUsage, "", "unknown flag: --buckt; see velero-plugin-longshore check objectstore --help"},
		{[]string{"check", "snapshotter", "--size", "1x"}, exitUsage, "", `--size "1x" is not accepted; it takes a size such as 1Gi`},
		{[]string{"check", "snapshotter", "--size", "-1Gi"}, exitUsage, "", `--size "-1Gi" is not accepted`},
		{[]string{"sweep", "a", "b"}, exitUsage, "", "one location at most, not a b"},
		{[]string{"install", "/nonexistent/folder"}, exitFailed, "", "install into /nonexistent/folder"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, test.code, Run(test.args, "v1.2.3", &stdout, &stderr), test.args)
		require.Contains(t, stdout.String(), test.stdout)
		require.Contains(t, stderr.String(), test.stderr)
	}
}

// TestHelpIsWrittenFor80Columns: what is wider than a terminal is broken by it, within
// words.
func TestHelpIsWrittenFor80Columns(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"check"}, {"check", "objectstore"}, {"check", "snapshotter"}, {"sweep"}, {"install"}, {"verify"}, {"drill"}, {"logs"}, {"describe"}, {"download"}, {"rewrap"}, {"print"}} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitOK, Run(append(args, "--help"), "v1.2.3", &stdout, &stderr))
		for line := range strings.Lines(stdout.String()) {
			oneWord := len(strings.Fields(line)) == 1
			require.True(t, oneWord || utf8.RuneCountInString(strings.TrimRight(line, " \n")) <= helpWidth, line)
		}
	}
}

// TestReportIsPrintable: names of folders are anybody's, and a terminal obeys what is in
// them.
func TestReportIsPrintable(t *testing.T) {
	var said bytes.Buffer
	require.Equal(t, exitFailed, report(&said, &backups.Missing{What: "backup", Name: "a", Like: []string{"a\x1b[2J"}, Total: 1}))
	require.Contains(t, said.String(), "did you mean a·[2J?")
	require.NotContains(t, said.String(), "\x1b")

	var told bytes.Buffer
	r := &rewrapped{reading: newReading("rewrap", rewrapUsage, &told, io.Discard), end: func() {}}
	r.End(rewrap.Object{Key: "a\x1b[2J", Outcome: rewrap.Failed, Error: "b\x1b[2J\nc"})
	require.Equal(t, "failed: a [2J\n  b [2J c\n", told.String())
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", time.Second: "1s", 10 * time.Second: "10s", time.Hour + time.Second: "1h0m1s",
	} {
		require.Equal(t, want, short(d))
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
