package verify

import (
	"context"
	"net/url"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

// Step takes a step, unless the backup was found to be deleted.
func (b *backup) Step(ctx context.Context, name string, do func(ctx context.Context) (string, error)) bool {
	return !b.gone && b.Run.Step(ctx, name, do)
}

// unlessDeleted is err, or that the backup is deleted, which is no failure of one of all.
func (b *backup) unlessDeleted(ctx context.Context, err error) error {
	if err == nil || !b.all || !b.deleted(ctx) {
		return err
	}
	b.gone = true
	return check.Skip("Velero deletes this backup, or has deleted it meanwhile: it is left out")
}

// vanishTime is after which time another object of a backup is gone that Velero deletes.
const vanishTime = 2 * time.Second

// deleted tells whether the folder of the backup is gone, or Velero is about it: by the
// cluster, or since the backup has expired and objects vanish.
func (b *backup) deleted(ctx context.Context) bool {
	now, err := b.l.Objects(ctx, b.name)
	switch {
	case err != nil:
		return false
	case len(now) == 0, b.cluster != nil && b.cluster.deletes(ctx, b.name):
		return true
	case !b.mayExpire(ctx):
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(vanishTime):
	}
	later, err := b.l.Objects(ctx, b.name)
	return err == nil && len(later) < len(b.present)
}

// mayExpire tells whether the backup has expired, as far as is known.
func (b *backup) mayExpire(ctx context.Context) bool {
	m, err := b.l.Metadata(ctx, b.name)
	if err != nil {
		return backups.IsMissing(err)
	}
	return m.Expired()
}

// deletes tells whether Velero deletes a backup. It notes that before it deletes snapshots.
func (c *Cluster) deletes(ctx context.Context, name string) bool {
	var b backups.Backup
	there, err := c.read(ctx, "/apis/velero.io/v1/namespaces/"+c.Namespace+"/backups/"+url.PathEscape(name), &b)
	return there && err == nil && b.Status.Phase == "Deleting"
}
