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
	store, volumes := byKey(settings.Rows(objectstore.Default())), byKey(settings.Rows(snapshotter.DefaultSettings()))
	return `# Configuration

<!-- Written by "go run ./hack/docs" from the settings in the code. -->

Every key stands in the ` + "`config`" + ` of a location, and every value is a string, so
numbers and booleans are quoted. Unknown keys are refused. An empty value leaves
the default.

- [BackupStorageLocation](#backupstoragelocation)
- [VolumeSnapshotLocation](#volumesnapshotlocation)
- [All keys at a glance](#all-keys-at-a-glance), as YAML

## BackupStorageLocation
` + tables(objectStoreGroups, store) + `
## VolumeSnapshotLocation
` + tables(snapshotterGroups, volumes) + `
## All keys at a glance

Most locations need two of them. The others are commented out; a few exclude each
other, which the plugin says.

` + "```yaml" + `
apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata:
  name: default
  namespace: velero
spec:
  provider: longshore.dev/s3-csi
  objectStorage:
    bucket: backups
    prefix: cluster-one
  config:
` + annotated(objectStoreGroups, store) + `---
apiVersion: velero.io/v1
kind: VolumeSnapshotLocation
metadata:
  name: default
  namespace: velero
spec:
  provider: longshore.dev/s3-csi
  config:
` + annotated(snapshotterGroups, volumes) + "```\n"
}

func byKey(rows []settings.Row) map[string]settings.Row {
	found := map[string]settings.Row{}
	for _, r := range rows {
		found[r.Key] = r
	}
	return found
}
