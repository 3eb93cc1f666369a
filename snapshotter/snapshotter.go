// Package snapshotter makes Velero's native volume snapshots out of CSI
// VolumeSnapshots, for any CSI driver.
//
// Nothing is kept in memory between two calls, and nothing stays in the cluster
// after one: the ID that a call returns says all that the next one needs. What
// exists while a call runs is labelled, so that the leftovers of a process that
// was killed are found by the repeated call or by [Snapshotter.Sweep].
package snapshotter

import (
	"cmp"
	"context"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/internal/settings"
)

// Snapshotter implements Velero's VolumeSnapshotter on the CSI snapshot API of
// one cluster. It never changes and is safe for concurrent use.
type Snapshotter struct {
	settings Settings
	kube     *kube.Client
	log      logrus.FieldLogger
	velero   string // Velero's namespace
	staging  string // where staging objects go
}

// Open makes a Snapshotter from a VolumeSnapshotLocation's config, for the
// cluster this process runs in or KUBECONFIG names. It sends no request.
func Open(_ context.Context, log logrus.FieldLogger, config map[string]string) (*Snapshotter, error) {
	s := DefaultSettings()
	if err := settings.Decode(config, &s); err != nil {
		return nil, err
	}
	rest, err := kube.Config()
	if err != nil {
		return nil, err
	}
	client, err := kube.New(rest, kube.Limits{QPS: s.KubeQPS, Burst: s.KubeBurst})
	if err != nil {
		return nil, err
	}
	return newSnapshotter(s, client, log, kube.Namespace()), nil
}

func newSnapshotter(s Settings, client *kube.Client, log logrus.FieldLogger, velero string) *Snapshotter {
	return &Snapshotter{
		settings: s,
		kube:     client,
		log:      log,
		velero:   velero,
		staging:  cmp.Or(s.StagingNamespace, velero),
	}
}
