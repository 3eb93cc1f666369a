// Package readiness lets a backup go on while the storage finishes its snapshots, and
// Velero follow them: a BackupItemAction for PersistentVolumes that begins an operation
// for each volume that is waited for, by the setting waitFor of its location. A
// RestoreItemAction has a restore end when its volumes serve their claims.
package readiness

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// askTimeout bounds one question of Velero, which asks about all volumes in a row.
const askTimeout = time.Minute

// Action implements pluginserver.ItemAction.
type Action struct {
	provider string
	log      logrus.FieldLogger
	open     func(context.Context, map[string]string) (*snapshotter.Snapshotter, error)

	mu   sync.Mutex
	last opened
}

// opened is the snapshotter of a backup.
type opened struct {
	backup      types.UID
	snapshotter *snapshotter.Snapshotter
	found       bool // a location of the provider; else its settings are the defaults
	err         error
}

// New returns an Action for the locations of a provider. Its operations are those of the
// process, which the snapshotter has to be opened with, too.
func New(provider string, operations *snapshotter.Operations, log logrus.FieldLogger) *Action {
	open := func(ctx context.Context, config map[string]string) (*snapshotter.Snapshotter, error) {
		s, err := snapshotter.Open(ctx, log, config)
		if err != nil {
			return nil, err
		}
		return s.WithOperations(operations), nil
	}
	return &Action{provider: provider, log: log, open: defaults.Open(defaults.VolumeSnapshotter, log, open)}
}

// backup is a Backup of Velero, as far as it is read here.
type backup struct {
	Metadata struct {
		Name string    `json:"name"`
		UID  types.UID `json:"uid"`
	} `json:"metadata"`
	Spec struct {
		SnapshotVolumes         *bool    `json:"snapshotVolumes"`
		VolumeSnapshotLocations []string `json:"volumeSnapshotLocations"` // all that Velero uses
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

func readBackup(content []byte) (b backup, err error) {
	if err := json.Unmarshal(content, &b); err != nil {
		return b, fmt.Errorf("read the Backup that Velero sent: %w", err)
	}
	return b, nil
}

// takesSnapshots is false too while Velero completes the archive, when it accepts no
// operation (Velero, pkg/backup/item_backupper.go).
func (b backup) takesSnapshots() bool {
	return b.Status.Phase == "InProgress" && (b.Spec.SnapshotVolumes == nil || *b.Spec.SnapshotVolumes)
}

// AppliesTo implements pluginserver.ItemAction.
func (a *Action) AppliesTo() []string { return []string{"persistentvolumes"} }

// Execute implements pluginserver.ItemAction. It never fails: a snapshot that
// Velero cannot follow is waited for by the snapshotter.
func (a *Action) Execute(ctx context.Context, item, content []byte) (operation string, _ error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	b, err := readBackup(content)
	if err == nil && b.takesSnapshots() {
		operation, err = a.follow(ctx, item, b)
	}
	if err != nil {
		a.log.WithError(err).Info("Velero cannot follow the snapshot; the backup waits for it, unless its location says waitFor: handle")
	}
	return operation, nil
}

func (a *Action) follow(ctx context.Context, item []byte, b backup) (string, error) {
	of := a.snapshotterOf(ctx, b)
	if of.err != nil || !of.found {
		return "", of.err
	}
	return of.snapshotter.Follow(ctx, b.Metadata.Name, item)
}

// snapshotterOf opens the snapshotter of the location that the backup takes snapshots
// with, of which Velero allows one for a provider. It is opened once for a backup, and
// again after a failure.
func (a *Action) snapshotterOf(ctx context.Context, b backup) opened {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last.backup != b.Metadata.UID || a.last.err != nil {
		a.last = opened{backup: b.Metadata.UID}
		a.last.snapshotter, a.last.found, a.last.err = a.openFor(ctx, b.Spec.VolumeSnapshotLocations)
	}
	return a.last
}

func (a *Action) openFor(ctx context.Context, locations []string) (s *snapshotter.Snapshotter, found bool, err error) {
	plain, err := a.open(ctx, nil)
	if err != nil {
		return nil, false, err
	}
	for _, name := range locations {
		config, found, err := plain.LocationConfig(ctx, name, a.provider)
		if err != nil {
			return nil, false, err
		}
		if found {
			s, err := a.open(ctx, config)
			return s, true, err
		}
	}
	return plain, false, nil
}

// Progress implements pluginserver.ItemAction. What cannot be told now is asked
// again, until Velero's own time limit for operations.
func (a *Action) Progress(ctx context.Context, operation string, content []byte) (pluginserver.Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	b, err := readBackup(content)
	if err != nil {
		return pluginserver.Progress{}, err
	}
	var now snapshotter.Progress
	of := a.snapshotterOf(ctx, b)
	if err = of.err; err == nil {
		now, err = of.snapshotter.Progress(ctx, operation)
	}
	return inVelerosTerms(now, "snapshots", err, a.log.WithField("operation", operation)), nil
}

func inVelerosTerms(p snapshotter.Progress, units string, err error, log logrus.FieldLogger) pluginserver.Progress {
	if err != nil {
		log.WithError(err).Warn("how far the storage is cannot be told now; Velero asks again")
		p = snapshotter.Progress{State: "how far it is cannot be told now: " + err.Error()}
	}
	progress := pluginserver.Progress{Done: p.Done, Failure: p.Failure, Description: p.State, Started: p.Since, Total: 1, Units: units}
	if p.Done && p.Failure == "" {
		progress.Completed, progress.Description = 1, "nothing is left to wait for"
	}
	return progress
}

// Cancel implements pluginserver.ItemAction.
func (a *Action) Cancel(ctx context.Context, operation string, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	b, err := readBackup(content)
	if err != nil {
		return err
	}
	of := a.snapshotterOf(ctx, b)
	if of.err != nil {
		return of.err
	}
	return of.snapshotter.Cancel(ctx, operation)
}
