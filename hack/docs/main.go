// Command docs writes docs/configuration.md from the settings structs. Run it
// in the repository's root: go run ./hack/docs
package main

import (
	"fmt"
	"os"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

const path = "docs/configuration.md"

func main() {
	if err := os.WriteFile(path, []byte(reference()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func reference() string {
	return `# Configuration

<!-- Written by "go run ./hack/docs" from the settings in the code. -->

Every key stands in the ` + "`config`" + ` of a location, and every value is a string, so
numbers and booleans are quoted. Unknown keys are refused. An empty value leaves
the default.

## BackupStorageLocation

` + settings.Table(objectstore.Default()) + `
## VolumeSnapshotLocation

` + settings.Table(snapshotter.DefaultSettings())
}
