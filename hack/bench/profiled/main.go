// Command profiled is the plugin with profiles: when Velero's client ends it, it
// leaves in the folder that PROFILES names what took its processor time and what
// its memory was used for. The plugin that is shipped has no such thing in it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

func main() {
	runtime.MemProfileRate = 64 << 10
	flags := pluginserver.ParseFlags(os.Args[1:])
	log := pluginserver.NewLogger(os.Stderr, flags.LogLevel)
	finish, err := start(os.Getenv("PROFILES"))
	if err != nil {
		log.WithError(err).Error("No profile is taken")
		os.Exit(1)
	}
	pluginserver.Serve(plugins(log), log)
	if err := finish(); err != nil {
		log.WithError(err).Error("A profile is not whole")
		os.Exit(1)
	}
}

func plugins(log logrus.FieldLogger) pluginserver.Plugins {
	return pluginserver.Plugins{
		Name: testbed.Provider,
		ObjectStore: func(ctx context.Context, config map[string]string) (pluginserver.ObjectStore, error) {
			return objectstore.Open(ctx, log, config)
		},
		VolumeSnapshotter: func(ctx context.Context, config map[string]string) (pluginserver.VolumeSnapshotter, error) {
			return snapshotter.Open(ctx, log, config)
		},
	}
}

// start begins the processor's profile; finish ends it and adds the memory's.
func start(dir string) (finish func() error, err error) {
	name := filepath.Join(dir, fmt.Sprint(os.Getpid()))
	processor, err := os.Create(name + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(processor); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		memory, err := os.Create(name + ".heap")
		if err != nil {
			return errors.Join(err, processor.Close())
		}
		return errors.Join(pprof.Lookup("allocs").WriteTo(memory, 0), memory.Close(), processor.Close())
	}, nil
}
