package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/internal/storedlists"
	"github.com/longshore-dev/velero-plugin/objectstore"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// clusterLists reads stored lists from any location of the cluster.
type clusterLists struct {
	cluster *check.Cluster
	log     logrus.FieldLogger
}

// SnapshotIDs implements snapshotter.StoredLists.
func (c clusterLists) SnapshotIDs(ctx context.Context, location, store, backup string) (ids []string, stored bool, err error) {
	storeOf := func(l *check.Location) string { return snapshotter.StoreName(l.Config["s3Url"], l.Bucket, l.Prefix) }
	// A location of another name at the same place has the same objects.
	l, err := c.cluster.FindAt(ctx, location, func(l *check.Location) bool { return l.Provider == defaults.Provider && storeOf(l) == store })
	if err != nil {
		return nil, false, err
	}
	switch {
	case l.Provider != defaults.Provider:
		return nil, false, fmt.Errorf("%s is of provider %s, whose storage is not read here", l.Subject, l.Provider)
	case storeOf(l) != store:
		return nil, false, fmt.Errorf("%s is at another place now: %q; when the snapshots were taken it was %q", l.Subject, storeOf(l), store)
	}
	err = errors.Join(c.cluster.ReadDefaults(ctx, check.BackupStorage, l), c.cluster.ReadSecrets(ctx, l))
	defer func() { err = errors.Join(err, l.Forget()) }()
	if err != nil {
		return nil, false, err
	}
	config := l.ObjectStoreConfig()
	delete(config, "writeProbe")
	opened, err := objectstore.Open(objectstore.WithSecrets(ctx, c.cluster.Secret), c.log, config)
	if err != nil {
		return nil, false, err
	}
	return storedlists.Read(ctx, backups.At(opened, l.Bucket, l.Prefix), backup)
}
