package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/longshore-dev/velero-plugin/docs"
)

// runVersion tells what this binary is made of.
func runVersion(version string, stdout, stderr io.Writer) int {
	commit, velero := "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
		for _, m := range info.Deps {
			if m.Path == "github.com/vmware-tanzu/velero" {
				velero = m.Version
			}
		}
	}
	_, err := fmt.Fprintf(stdout, "velero-plugin-longshore %s\ncommit: %s\nbuilt with: %s %s/%s\nVelero: plugin protocol of %s, for 1.14 and later; the versions it was tested with are in\n  %s\n",
		version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, velero, docs.Page("compatibility.md"))
	return report(stderr, err)
}
