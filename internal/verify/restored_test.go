package verify

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

// stuck is a cluster in which a volume is made, and never goes. Somebody presses Ctrl-C
// meanwhile.
type stuck struct{ interrupt context.CancelFunc }

func (s stuck) CreateVolumeFromSnapshot(context.Context, string, string, string, *int64) (string, error) {
	s.interrupt()
	return "csi-new-volume://d/h", nil
}

func (stuck) DiscardVolume(context.Context, string) error { return errors.New("the driver is away") }

// TestInterruptedVolume: a volume that is not gone after an interruption is named.
func TestInterruptedVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var taken backups.Snapshot
		taken.Status.ID, taken.Spec.PersistentVolume = backuptest.SnapshotID, "pvc-1"
		b := &backup{Run: check.NewRun(check.Silent{}), taken: []backups.Snapshot{taken}}
		c := &Cluster{locations: map[string]*location{"": {restore: stuck{cancel}}}}
		began := time.Now()
		b.Step(ctx, "restored volumes", func(ctx context.Context) (string, error) { return b.restored(ctx, c) })
		require.Equal(t, discardTimeout, time.Since(began))
		step := b.Results[0]
		require.Equal(t, check.Failed, step.Outcome)
		require.Equal(t, "interrupted; the snapshot of volume pvc-1: the volume made from it (csi-new-volume://d/h) may still be there: the driver is away", step.Detail)
		require.Contains(t, step.Hint, "velero-plugin-longshore sweep")
	})
}
