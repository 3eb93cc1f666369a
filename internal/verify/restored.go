package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// restored makes a volume from each snapshot, by the calls of a restore, and removes
// it again. One after the other, as Velero does it: a driver may have room for few.
func (b *backup) restored(ctx context.Context, c *Cluster) (string, error) {
	ours, _ := b.ours()
	if len(ours) == 0 {
		return "", check.Skip("there is no snapshot of this plugin")
	}
	var f findings
	for _, s := range ours {
		err := c.restore(ctx, s)
		if ctx.Err() != nil {
			return "", interrupted(ctx, s, err)
		}
		if err != nil {
			f.fail("the snapshot of volume %s: %v", s.pv, err)
		}
	}
	return f.end(check.Count(len(ours), "volume")+" made, and gone again",
		"a restore of these fails too: the driver's words stand there, and more of them in the logs of its csi-provisioner and csi-snapshotter; "+sweepLater)
}

// sweepLater is what to do about volumes that are left.
const sweepLater = "velero-plugin-longshore sweep removes what could not be removed yet, when the driver is done"

// interrupted is how the step ends then. What may be left of the last snapshot is told.
func interrupted(ctx context.Context, s snapshot, err error) error {
	if err == nil {
		return ctx.Err()
	}
	return check.Fail(fmt.Sprintf("interrupted; the snapshot of volume %s: %v", s.pv, err), sweepLater)
}

// CleanUpNotice tells somebody who interrupts a verification with RestoreVolumes what
// it does before it ends, how long that may take, and what a second Ctrl-C leaves.
func CleanUpNotice() string {
	return fmt.Sprintf("removing the volume that is being made, if there is one, for %s at most; Ctrl-C once more ends it at once, and leaves the volume and what is named longshore-restore-; "+
		"velero-plugin-longshore sweep removes that when the restore's time is over, by default after half an hour...", discardTimeout)
}

// restorer makes volumes by the calls of a restore.
type restorer interface {
	CreateVolumeFromSnapshot(ctx context.Context, snapshotID, volumeType, zone string, iops *int64) (string, error)
	DiscardVolume(ctx context.Context, volumeID string) error
}

// How long a volume may take to go, and after which time it is asked for again.
const (
	discardTimeout = 5 * time.Minute
	discardPause   = 2 * time.Second
)

func (c *Cluster) restore(ctx context.Context, s snapshot) error {
	l, err := c.location(ctx, s.Spec.Location)
	if err != nil {
		return err
	}
	volume, err := l.restore.CreateVolumeFromSnapshot(ctx, s.id, s.Spec.VolumeType, "", nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout) // also after Ctrl-C
	defer cancel()
	for {
		err := l.restore.DiscardVolume(ctx, volume)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the volume made from it (%s) may still be there: %w", volume, err)
		case <-time.After(discardPause):
		}
	}
}
