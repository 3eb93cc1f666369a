package cli

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestCheckInterrupted: a check that is interrupted, or whose output nobody reads
// any more, removes its objects and says so.
func TestCheckInterrupted(t *testing.T) {
	buildPlugin(t)
	s := newStorage(t, testbed.S3Options{})
	for name, test := range map[string]struct {
		interrupt func(*os.Process, io.Closer) error
		says      string
	}{
		"Ctrl-C":            {func(p *os.Process, _ io.Closer) error { return p.Signal(os.Interrupt) }, "interrupted; removing what the check made, for 30s at most"},
		"a closed terminal": {func(p *os.Process, _ io.Closer) error { return p.Signal(syscall.SIGHUP) }, "interrupted; removing what the check made"},
		"a closed output":   {func(_ *os.Process, output io.Closer) error { return output.Close() }, "nobody reads the output any more; removing what the check made"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.of(t)
			command, output, stderr := s.begin()
			defer output.Close()
			lines := bufio.NewScanner(output)
			for lines.Scan() && !strings.Contains(lines.Text(), "put ") {
			}
			keys, err := s.Keys(t.Context(), bucket, "")
			require.NoError(t, err)
			require.NotEmpty(t, keys, "the check has made an object")
			require.NoError(t, test.interrupt(command.Process, output))
			go io.Copy(io.Discard, output)
			require.Error(t, command.Wait())
			require.Contains(t, stderr.String(), test.says)
			s.empty()
		})
	}
}

// TestCheckMakesNothing: a check that makes nothing does not speak of removing it.
func TestCheckMakesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		kind  string
		flags checkFlags
		says  bool
	}{
		"objectstore":             {"objectstore", checkFlags{}, true},
		"objectstore --read-only": {"objectstore", checkFlags{readOnly: true}, false},
		"snapshotter":             {"snapshotter", checkFlags{}, false},
		"snapshotter --full":      {"snapshotter", checkFlags{full: check.Full{Wanted: true}}, true},
	} {
		require.Equal(t, test.says, test.flags.goingOn(test.kind) != "", name)
	}
}

// buildPlugin has the plugin built into this machine's own cache, before a test
// takes another home.
func buildPlugin(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the plugin")
	}
	_, err := testbed.Plugin.Path(t.Context())
	require.NoError(t, err)
}

// begin starts a check as a process whose requests are slow enough to be
// interrupted.
func (s *storage) begin() (*exec.Cmd, *os.File, *bytes.Buffer) {
	s.Helper()
	plugin, err := testbed.Plugin.Path(s.Context())
	require.NoError(s, err)
	address, err := url.Parse(s.Endpoint)
	require.NoError(s, err)
	proxy := httputil.NewSingleHostReverseProxy(address)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		proxy.ServeHTTP(w, r)
	}))
	s.Cleanup(slow.Close)
	output, input, err := os.Pipe()
	require.NoError(s, err)
	var stderr bytes.Buffer
	command := exec.CommandContext(s.Context(), plugin, "check", "objectstore", "--bucket", bucket, "--config", "s3Url="+slow.URL, "--credentials-file", s.CredentialsFile)
	command.Stdout, command.Stderr = input, &stderr
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGKILL) }
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // else the command ignores it where this process does, as under nohup
	require.NoError(s, command.Start())
	signal.Stop(hangup)
	require.NoError(s, input.Close())
	return command, output, &stderr
}
