package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	modeFilesystem = "Filesystem"
	modeBlock      = "Block"
)

// volume is what volume.json holds.
type volume struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	CapacityBytes int64             `json:"capacityBytes"`
	VolumeMode    string            `json:"volumeMode"`
	AccessModes   []string          `json:"accessModes"`
	Topology      map[string]string `json:"topology,omitempty"`
	Context       map[string]string `json:"context,omitempty"`
	Parameters    map[string]string `json:"parameters,omitempty"`
	Mutable       map[string]string `json:"mutableParameters,omitempty"`
	Source        source            `json:"source,omitzero"`
	CreationTime  time.Time         `json:"creationTime"`
}

// source is where a volume's first content came from: nowhere, a snapshot or
// another volume.
type source struct {
	SnapshotID string `json:"snapshotId,omitempty"`
	VolumeID   string `json:"volumeId,omitempty"`
}

// snapshot is what snapshot.json holds.
type snapshot struct {
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	SourceVolumeID string            `json:"sourceVolumeId"`
	SizeBytes      int64             `json:"sizeBytes"`
	VolumeMode     string            `json:"volumeMode"`
	Topology       map[string]string `json:"topology,omitempty"`
	Parameters     map[string]string `json:"parameters,omitempty"`
	CreationTime   time.Time         `json:"creationTime"`
	ReadyAt        time.Time         `json:"readyAt"`
	GroupID        string            `json:"groupId,omitempty"`
}

func (s *snapshot) ready(now time.Time) bool { return !now.Before(s.ReadyAt) }

// errAbsent says that the storage holds no entry of an ID.
var errAbsent = errors.New("not found")

// store is the storage on disk, laid out as README.md says. Reads need no
// lock; whoever changes anything holds the lock.
type store struct {
	root      string
	lock      *writerLock
	volumes   shelf[volume]
	snapshots shelf[snapshot]
	groups    shelf[group]
}

func openStore(root string) (*store, error) {
	for _, dir := range []string{"volumes", "snapshots", "groups", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return nil, fmt.Errorf("make the storage: %w", err)
		}
	}
	return storeAt(root), nil
}

func storeAt(root string) *store {
	return &store{
		root:      root,
		lock:      newWriterLock(filepath.Join(root, "lock")),
		volumes:   newShelf(root, "volumes", "vol", "volume.json", func(v *volume) string { return v.ID }),
		snapshots: newShelf(root, "snapshots", "snap", "snapshot.json", func(s *snapshot) string { return s.ID }),
		groups:    newShelf(root, "groups", "group", "group.json", func(g *group) string { return g.ID }),
	}
}

// clean removes what dead writers left and returns its names: all in tmp, and the
// snapshots of a group that was not completed, or not deleted as a whole.
func (s *store) clean(ctx context.Context) ([]string, error) {
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	names, err := s.leftovers()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := removeTree(filepath.Join(s.root, "tmp", name)); err != nil {
			return nil, fmt.Errorf("remove a leftover: %w", err)
		}
	}
	members, err := s.snapshots.list()
	if err != nil {
		return nil, err
	}
	for _, member := range members {
		if _, err := s.groups.get(member.GroupID); member.GroupID == "" || !errors.Is(err, errAbsent) {
			continue
		}
		if err := s.snapshots.remove(member.ID); err != nil {
			return nil, err
		}
		names = append(names, member.ID)
	}
	return names, nil
}

func (s *store) leftovers() ([]string, error) {
	return entryNames(filepath.Join(s.root, "tmp"))
}
