// Command velero-plugin-longshore is a storage plugin for Velero. Started by
// Velero it serves an ObjectStore over any S3-compatible storage and a
// VolumeSnapshotter over any CSI driver; started by hand it helps people.
package main

import (
	"context"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/cli"
	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// provider is the name of both kinds, since `velero install --provider` writes
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
	pluginserver.Serve(pluginserver.Plugins{
		Name:              provider,
		ObjectStore:       openObjectStore(log),
		VolumeSnapshotter: openSnapshotter(log),
	}, log)
}

func openObjectStore(log logrus.FieldLogger) pluginserver.Open[pluginserver.ObjectStore] {
	return defaults.Open(defaults.ObjectStore, log, func(ctx context.Context, config map[string]string) (pluginserver.ObjectStore, error) {
		return objectstore.Open(ctx, log, config)
	})
}

func openSnapshotter(log logrus.FieldLogger) pluginserver.Open[pluginserver.VolumeSnapshotter] {
	return defaults.Open(defaults.VolumeSnapshotter, log, func(ctx context.Context, config map[string]string) (pluginserver.VolumeSnapshotter, error) {
		return snapshotter.Open(ctx, log, config)
	})
}
