package e2e

import (
	"os"
	"slices"
	"testing"

	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
)

// serverArguments are what Velero's client hands on to each plugin: its own
// arguments from the third on. One is unknown to us, as most are in real life.
var serverArguments = []string{"server", "--namespace", "velero", "--log-level", "debug", "--features=EnableCSI,EnableOther"}

// TestMain plays Velero. Velero's registry starts its own program, too, with
// the argument run-plugins, to ask for the plugins built into it: here none.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "run-plugins") {
		framework.NewServer().Serve()
		return
	}
	code := m.Run()
	os.Exit(code)
}
