// Package snapshotter makes Velero's native volume snapshots out of CSI
// snapshots, for any CSI driver.
//
// Nothing that a call depends on is kept in memory: an ID says all that the next call
// needs. What exists in the cluster while a call runs says whose it is and until
// when, so that [Snapshotter.Sweep] finds what a killed process has left. Nothing
// is returned, changed or deleted without proof that it is this plugin's own.
package snapshotter

import (
	"cmp"
	"context"
	"time"

	"github.com/sirupsen/logrus"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// Snapshotter implements Velero's VolumeSnapshotter on the CSI snapshot API of
// one cluster. It never changes and is safe for concurrent use.
type Snapshotter struct {
	settings Settings
	kube     *kube.Client
	log      logrus.FieldLogger
	owner    objects.Owner
	lists    StoredLists // nil where there are none
	begun    *Operations // nil where there are none
	now      func() time.Time

	beginTimeout, groupGrace time.Duration // the constants, but in tests
}

// Open makes a Snapshotter from a VolumeSnapshotLocation's config, for the
// cluster this process runs in or KUBECONFIG names. It sends no request.
func Open(_ context.Context, log logrus.FieldLogger, config map[string]string) (*Snapshotter, error) {
	s, err := OpenOn(nil, kube.Namespace(), log, config)
	if err != nil {
		return nil, err
	}
	cluster, err := kube.Config("", "")
	if err != nil {
		return nil, err
	}
	return s, s.connect(cluster)
}

// connect makes the client for the cluster, as the settings want it.
func (s *Snapshotter) connect(config *rest.Config) (err error) {
	s.kube, err = kube.New(config, kube.Options{QPS: s.settings.KubeQPS, Burst: s.settings.KubeBurst, Grace: s.settings.ErrorGracePeriod, Log: s.log})
	return err
}

// OpenOn makes a Snapshotter like Open, for the cluster of the client and Velero
// in the given namespace.
func OpenOn(client *kube.Client, namespace string, log logrus.FieldLogger, config map[string]string) (*Snapshotter, error) {
	s := DefaultSettings()
	if err := settings.Decode(config, &s); err != nil {
		return nil, err
	}
	s.StagingNamespace = cmp.Or(s.StagingNamespace, namespace)
	return &Snapshotter{
		settings: s,
		kube:     client,
		log:      log,
		owner:    objects.Owner{Velero: namespace, Location: objects.Location(config)},
		now:      time.Now,

		beginTimeout: beginTimeout, groupGrace: groupGrace,
	}, nil
}

// deadlineMargin is added to the timeout of a call: its clean-up has ended then,
// and clocks may differ.
const deadlineMargin = 2 * time.Minute

// newCall begins a call that ends within the given time.
func (s *Snapshotter) newCall(purpose objects.Purpose, within time.Duration) objects.Call {
	return objects.NewCall(s.owner, purpose, s.now().Add(within+deadlineMargin))
}

func (s *Snapshotter) logFor(call objects.Call) logrus.FieldLogger {
	return s.log.WithFields(logrus.Fields{"request": call.Name(), "purpose": call.Purpose})
}
