// Package storedlists joins the two kinds of plugin where a snapshot's fate hangs on
// both: it lets the snapshotter read the lists of snapshots that Velero has stored
// through the object store.
package storedlists

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// Read returns the IDs in the list of snapshots of a backup; see
// [snapshotter.StoredLists].
func Read(ctx context.Context, location *backups.Location, backup string) (ids []string, stored bool, err error) {
	list, err := location.Snapshots(ctx, backup)
	if missing := new(*backups.Missing); errors.As(err, missing) || backups.IsMissing(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the list of snapshots that backup %s has stored: %w", backup, err)
	}
	for _, snapshot := range list {
		ids = append(ids, snapshot.Status.ID)
	}
	return ids, true, nil
}

// Process is what is open in one plugin process: Velero opens the location of a backup
// in the process that takes, and deletes, its snapshots.
type Process struct {
	log logrus.FieldLogger

	mu          sync.Mutex
	locations   map[string]*backups.Location // by snapshotter.StoreName
	snapshotter *snapshotter.Snapshotter     // the last that was opened, nil before
}

// New returns a Process that has nothing open.
func New(log logrus.FieldLogger) *Process {
	return &Process{log: log, locations: map[string]*backups.Location{}}
}

// SnapshotIDs implements snapshotter.StoredLists.
func (p *Process) SnapshotIDs(ctx context.Context, _, store, backup string) (ids []string, stored bool, err error) {
	p.mu.Lock()
	location := p.locations[store]
	p.mu.Unlock()
	if location == nil {
		return nil, false, fmt.Errorf("%s: %w", store, snapshotter.ErrNotOpen)
	}
	return Read(ctx, location, backup)
}

// Snapshotter keeps the snapshotter that was opened, and gives it the lists.
func (p *Process) Snapshotter(opened *snapshotter.Snapshotter) *snapshotter.Snapshotter {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshotter = opened.WithLists(p)
	return p.snapshotter
}

// ObjectStores are those that open opens, from the config that Velero gives.
func (p *Process) ObjectStores(open pluginserver.Open[pluginserver.ObjectStore]) pluginserver.Open[pluginserver.ObjectStore] {
	return func(ctx context.Context, config map[string]string) (pluginserver.ObjectStore, error) {
		opened, err := open(ctx, config)
		if err != nil {
			return nil, err
		}
		location := backups.At(opened, config["bucket"], config["prefix"])
		p.mu.Lock()
		defer p.mu.Unlock()
		p.locations[snapshotter.StoreName(config["s3Url"], config["bucket"], config["prefix"])] = location
		return &objectStore{opened, p, location}, nil
	}
}

// objectStore is an ObjectStore that tells the snapshotter of each list of snapshots
// that it has stored.
type objectStore struct {
	pluginserver.ObjectStore
	process  *Process
	location *backups.Location
}

// PutObject implements pluginserver.ObjectStore.
func (o *objectStore) PutObject(ctx context.Context, bucket, key string, body io.Reader) error {
	err := o.ObjectStore.PutObject(ctx, bucket, key, body)
	if backup, is := o.location.ListOf(key); is && err == nil {
		o.process.stored(ctx, o.location, backup)
	}
	return err
}

// noteTimeout bounds what is done before Velero is told that its list is stored.
const noteTimeout = 20 * time.Second

// stored takes the snapshots out of the journal that a list names, which has just been
// stored. What fails here is done by a sweep.
func (p *Process) stored(ctx context.Context, location *backups.Location, backup string) {
	p.mu.Lock()
	s := p.snapshotter
	p.mu.Unlock()
	if s == nil {
		return // no snapshot was taken in this process
	}
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	ids, stored, err := Read(ctx, location, backup)
	if err == nil && !stored {
		err = errors.New("the storage does not show the list that it has just stored")
	}
	if err == nil {
		err = s.NoteStored(ctx, backup, ids)
	}
	if err != nil {
		p.log.WithError(err).WithField("backup", backup).Info("the journal of the backup's snapshots stays until a sweep")
	}
}
