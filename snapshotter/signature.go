package snapshotter

import (
	"context"
	"fmt"
	"strings"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// signingKeys returns the keys of the location, none if it names none. They are
// read for each call, so that a replaced key holds at once.
func (s *Snapshotter) signingKeys(ctx context.Context) (ids.Keys, error) {
	if s.settings.SigningKeySecret == "" {
		return ids.Keys{}, nil
	}
	name, key, _ := strings.Cut(s.settings.SigningKeySecret, "/")
	text, err := s.kube.SecretValue(ctx, s.owner.Velero, name, key)
	if err != nil {
		return ids.Keys{}, fmt.Errorf("get the key that signs snapshot IDs (setting signingKeySecret): %w", err)
	}
	keys, err := ids.ParseKeys(text)
	if err != nil {
		return ids.Keys{}, fmt.Errorf("key %s of Secret %s/%s (setting signingKeySecret): %w", key, s.owner.Velero, name, err)
	}
	return keys, nil
}

// ReadID reads the ID of a snapshot of this plugin; ours is false for one of another
// plugin. A signature is not checked: nothing may be done on the strength of it.
func ReadID(text string) (id ids.SnapshotID, ours bool, err error) {
	if !strings.HasPrefix(text, "csi://") {
		return id, false, nil
	}
	id, err = ids.ParseSnapshotID(text)
	return id, true, err
}

// parseSnapshotID reads the ID of a snapshot that Velero took from a backup, with
// the driver that serves the snapshot now. It refuses one that somebody else made
// or changed, as far as the location's keys tell, and one of a driver that the
// location does not take.
func (s *Snapshotter) parseSnapshotID(ctx context.Context, text string) (ids.SnapshotID, error) {
	keys, err := s.signingKeys(ctx)
	if err != nil {
		return ids.SnapshotID{}, err
	}
	id, err := keys.Parse(text, s.settings.RequireSignature)
	if err != nil {
		return ids.SnapshotID{}, err
	}
	id.Driver, err = s.locationDrivers().Present(id.Driver)
	return id, err
}
