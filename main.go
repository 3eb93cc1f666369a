// Command velero-plugin-longshore is a storage plugin for Velero. Started by
// Velero it serves an ObjectStore over any S3-compatible storage and a
// VolumeSnapshotter over any CSI driver; started by hand it helps people.
package main

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/internal/cli"
	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
	"github.com/longshore-dev/velero-plugin/internal/readiness"
	"github.com/longshore-dev/velero-plugin/internal/storedlists"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// provider is the name of all kinds, since `velero install --provider` writes
// one name into both locations.
const provider = defaults.Provider

// version is stamped by the build.
var version = "unknown"

func main() {
	if !pluginserver.StartedByVelero() {
		os.Exit(cli.Run(os.Args[1:], version, os.Stdout, os.Stderr))
	}
	flags := pluginserver.ParseFlags(os.Args[1:])
	log := pluginserver.NewLogger(os.Stderr, flags.LogLevel)
	enableCSI := flags.Has("EnableCSI")
	lists, operations := storedlists.New(log), snapshotter.NewOperations(time.Now())
	plugins := pluginserver.Plugins{
		Name:              provider,
		ObjectStore:       lists.ObjectStores(openObjectStore(log)),
		VolumeSnapshotter: openSnapshotter(log, lists, operations, enableCSI),
		Ended:             func() { objectstore.LogUsage(log) },
	}
	if !enableCSI {
		plugins.BackupItemAction = readiness.New(provider, operations, log)
		plugins.RestoreItemAction = readiness.NewRestores(operations, log)
	}
	pluginserver.Serve(plugins, log)
}

func openObjectStore(log logrus.FieldLogger) pluginserver.Open[pluginserver.ObjectStore] {
	return defaults.Open(defaults.ObjectStore, log, func(ctx context.Context, config map[string]string) (pluginserver.ObjectStore, error) {
		return objectstore.Open(ctx, log, config)
	})
}

// openSnapshotter warns once where Velero runs with the feature EnableCSI: it
// then snapshots CSI volumes itself and never asks a plugin.
func openSnapshotter(log logrus.FieldLogger, lists *storedlists.Process, operations *snapshotter.Operations, enableCSI bool) pluginserver.Open[pluginserver.VolumeSnapshotter] {
	var warn sync.Once
	return defaults.Open(defaults.VolumeSnapshotter, log, func(ctx context.Context, config map[string]string) (pluginserver.VolumeSnapshotter, error) {
		if enableCSI {
			warn.Do(func() { log.Warn(enableCSIWarning + docs.Page("migrate-from-enablecsi.md")) })
		}
		opened, err := snapshotter.Open(ctx, log, config)
		if err != nil {
			return nil, err
		}
		return lists.Snapshotter(opened.WithOperations(operations)), nil
	})
}

const enableCSIWarning = "Velero runs with --features=EnableCSI: it snapshots CSI volumes itself and never asks this plugin; " +
	"remove EnableCSI from the server's features to use the VolumeSnapshotLocation. Backups made with it would then be restored with empty volumes: see "
