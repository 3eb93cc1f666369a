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
		if err := c.restore(ctx, s); err != nil {
			f.fail("the snapshot of volume %s: %v", s.pv, err)
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	return f.end(check.Count(len(ours), "volume")+" made, and gone again", "a restore of these fails too: the driver's words stand there, and more of them in the logs of its csi-provisioner and csi-snapshotter; "+
		"velero-plugin-longshore sweep removes what could not be removed yet, when the driver is done")
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
