package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
)

// serverArguments are what Velero's client hands on to each plugin: its own
// arguments from the third on. One is unknown to us, as most are in real life.
var serverArguments = []string{"server", "--namespace", "velero", "--log-level", "debug", "--features=EnableCSI,EnableOther"}

// programs is the folder of what the tests build.
var programs string

// TestMain plays Velero. Velero's registry starts its own program, too, with
// the argument run-plugins, to ask for the plugins built into it: here none.
func TestMain(m *testing.M) {
	runDrillTest()
	if slices.Contains(os.Args, "run-plugins") {
		framework.NewServer().Serve()
		return
	}
	var err error
	if programs, err = os.MkdirTemp("", "longshore-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(programs)
	os.Exit(code)
}

var buildTestPlugin = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "testplugin", "testplugin")
	out, err := exec.Command("go", "build", "-o", path, "./testplugin").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the test plugin: %w: %s", err, out)
	}
	return path, nil
})

// testPlugin returns the path of the test plugin, alone in its folder.
func testPlugin(t testing.TB) string {
	t.Helper()
	path, err := buildTestPlugin()
	require.NoError(t, err)
	return path
}
