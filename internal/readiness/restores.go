package readiness

import (
	"context"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// RestoreAction implements pluginserver.ItemAction for the PersistentVolumes of restores.
type RestoreAction struct {
	operations *snapshotter.Operations
	log        logrus.FieldLogger
}

// NewRestores returns a RestoreAction for the volumes that the snapshotter of the process
// restores, which has to be opened with the same operations.
func NewRestores(operations *snapshotter.Operations, log logrus.FieldLogger) *RestoreAction {
	return &RestoreAction{operations, log}
}

// AppliesTo implements pluginserver.ItemAction.
func (a *RestoreAction) AppliesTo() []string { return []string{"persistentvolumes"} }

// Execute implements pluginserver.ItemAction. An operation has the name of its
// PersistentVolume.
func (a *RestoreAction) Execute(_ context.Context, item, _ []byte) (operation string, _ error) {
	return a.operations.FollowRestored(item)
}

// Progress implements pluginserver.ItemAction.
func (a *RestoreAction) Progress(ctx context.Context, operation string, _ []byte) (pluginserver.Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var now snapshotter.Progress
	s, err := snapshotter.Open(ctx, a.log, nil)
	if err == nil {
		now, err = s.Bound(ctx, operation)
	}
	return inVelerosTerms(now, "volumes", err, a.log.WithField("persistentVolume", operation)), nil
}

// Cancel implements pluginserver.ItemAction. There is nothing to end.
func (a *RestoreAction) Cancel(context.Context, string, []byte) error { return nil }
