package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/rewrap"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
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
		{[]string{"chekc"}, exitUsage, "", `unknown command "chekc"; did you mean check? velero-plugin-longshore --help lists all`},
		{[]string{"version", "--short"}, exitUsage, "", "version takes no arguments, not --short"},
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
		{[]string{"check", "snapshotter", "--size", "2Gi"}, exitUsage, "", "add --full"},
		{[]string{"check", "snapshotter", "--storage-class", "fast"}, exitUsage, "", "add --full"},
		{[]string{"check", "snapshotter", "--full=maybe"}, exitUsage, "", `--full "maybe" is not accepted; it takes true or false; see`},
		{[]string{"sweep", "-n", ""}, exitUsage, "", `-n "" is not accepted; it takes the name of a namespace`},
		{[]string{"sweep", "a", "b"}, exitUsage, "", "one location at most, not a b"},
		{[]string{"install", "/nonexistent/folder"}, exitFailed, "", "install into /nonexistent/folder"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, test.code, Run(test.args, "v1.2.3", &stdout, &stderr), test.args)
		require.Contains(t, stdout.String(), test.stdout)
		require.Contains(t, stderr.String(), test.stderr)
	}
}

// TestFilesOfFlags: a file that cannot be read is told with the flag that names it.
func TestFilesOfFlags(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	folder := t.TempDir()
	none := filepath.Join(folder, "none")
	empty := filepath.Join(folder, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	there := []string{"--config", "s3Url=http://127.0.0.1:1", "--config", "region=r", "--config", "maxRetries=0", "--bucket", "bucket"}
	for says, args := range map[string][]string{
		"--file " + none + ": no such file or directory; name a file that is there":         {"verify", "a", "--file", none},
		"--file " + folder + ": is a directory; name a file":                                {"verify", "a", "--file", folder},
		"--file " + empty + ": no BackupStorageLocation in it":                              {"logs", "a", "--file", empty},
		"--cacert " + none + ": no such file or directory; name a file that is there":       append([]string{"logs", "a", "--cacert", none}, there...),
		"--metrics " + folder + " is a folder; name a file in it":                           append([]string{"verify", "a", "--metrics", folder}, there...),
		"BackupStorageLocation of the command line names no bucket; name one by --bucket":   {"verify", "a", "--config", "region=r"},
		"no cluster in KUBECONFIG (\"\"), else ~/.kube/config; name a cluster by --kubecon": {"sweep"},
		"; name a cluster by --kubeconfig or --context, or describe the location by --file": {"logs", "a", "--kubeconfig", none},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUsage, Run(args, "test", &stdout, &stderr), "%v: %s%s", args, stdout.String(), stderr.String())
		require.Contains(t, stderr.String(), says, args)
	}
	err := writeFile(filepath.Join(none, "a.tar.gz"), false, func(io.Writer) error { return nil })
	require.EqualError(t, err, "write "+filepath.Join(none, "a.tar.gz")+": no such file or directory; name a file with --to, in a folder that is there and may be written to")
}

// TestUnreachedCluster: nothing listens at the address of the API server.
func TestUnreachedCluster(t *testing.T) {
	kubeconfig := testbed.Kubeconfig(t, "http://127.0.0.1:1")
	for _, ask := range []func(context.Context) error{
		func(ctx context.Context) error {
			w := where{kubeconfig: kubeconfig, namespace: "velero"}
			_, err := w.find(ctx, check.VolumeSnapshot, "")
			return err
		},
		func(ctx context.Context) error {
			d := &drilling{reading: newReading("drill", drillUsage, io.Discard, io.Discard)}
			d.kubeconfig, d.namespace = kubeconfig, "velero"
			return d.findBackup(ctx, []string{"a"})
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := ask(ctx)
		cancel()
		require.ErrorContains(t, err, "connection refused; see whether the Kubernetes API answers (kubectl get --raw /readyz), and whether --kubeconfig")
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
