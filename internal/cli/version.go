package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/docs"
)

// commit is stamped by the build.
var commit string

// runVersion tells what this binary is made of.
func runVersion(args []string, version string, stdout, stderr io.Writer) int {
	if len(args) > 0 && !isHelp(args[0]) {
		return usageError(stderr, fmt.Errorf("version takes no arguments, not %s", strings.Join(args, " ")))
	}
	tested, err := testedVelero()
	if err == nil {
		_, err = fmt.Fprintf(stdout, "velero-plugin-longshore %s\ncommit: %s\nbuilt with: %s %s/%s\nVelero: 1.14 and later, tested with %s\n  %s\n",
			version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH, strings.Join(tested, ", "), docs.Page("compatibility.md"))
	}
	return report(stderr, err)
}

// revision is the commit of the sources; a plain go build knows it, too.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if commit != "" || !ok {
		return commit
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}

// testedVelero are the versions of Velero that docs/compatibility.md names.
func testedVelero() ([]string, error) {
	content, err := docs.Files.ReadFile("compatibility.json")
	if err != nil {
		return nil, err
	}
	var rows []struct{ Versions struct{ Velero string } }
	if err := json.Unmarshal(content, &rows); err != nil {
		return nil, fmt.Errorf("compatibility.json: %w", err)
	}
	var all []string
	for _, row := range rows {
		all = append(all, row.Versions.Velero)
	}
	return slices.Compact(all), nil
}
