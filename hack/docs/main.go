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
- [Default settings for all locations](#default-settings-for-all-locations)
- [All keys at a glance](#all-keys-at-a-glance), as YAML

## BackupStorageLocation
` + tables(objectStoreGroups, store) + `
## VolumeSnapshotLocation
` + tables(snapshotterGroups, volumes) + defaultSettings + `
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

const defaultSettings = `
## Default settings for all locations

A ConfigMap in Velero's namespace may hold settings for all BackupStorageLocations of this
provider ([example](examples/defaults-objectstore.yaml)), and another one for all
VolumeSnapshotLocations ([example](examples/defaults-snapshotter.yaml)). It is known by two
labels: ` + "`velero.io/plugin-config: \"\"`" + `, and ` + "`longshore.dev/s3-csi`" + ` with the value
` + "`ObjectStore`" + ` or ` + "`VolumeSnapshotter`" + `. With several of one kind no location opens.

- A location's own setting takes precedence.
- ` + "`bucket` and `prefix`" + ` are refused: each location has its own.
- So are the keys that protect: ` + "`encryption…`, `customerKeyEncryption…`, `serverSideEncryption`" + `,
  ` + "`kms…`, `objectLock…`, `expectedBucketOwner`, `signingKeySecret` and `requireSignature`" + `. Put
  them into each location: where the plugin may not read the ConfigMap, it would go on
  without them.
- Where the plugin may not list the ConfigMaps in Velero's namespace, locations open without
  default settings.
- Where the Kubernetes API does not answer within 3 seconds, the location does not open: the
  default settings are not known then. Velero tries again.
- Velero's file-system backup and data movers do not know them.
`

func byKey(rows []settings.Row) map[string]settings.Row {
	found := map[string]settings.Row{}
	for _, r := range rows {
		found[r.Key] = r
	}
	return found
}
