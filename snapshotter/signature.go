package snapshotter

import (
	"context"
	"fmt"
	"strings"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// signingKeys returns the keys of the location, none if it names none. They are
// read anew for each call, so that a replaced key holds at once.
func (s *Snapshotter) signingKeys(ctx context.Context) (ids.Keys, error) {
	if s.settings.SigningKeySecret == "" {
		return ids.Keys{}, nil
	}
	name, key, _ := strings.Cut(s.settings.SigningKeySecret, "/")
	text, err := s.kube.SecretValue(ctx, s.velero, name, key)
	if err != nil {
		return ids.Keys{}, fmt.Errorf("get the key that signs snapshot IDs (setting signingKeySecret): %w", err)
	}
	keys, err := ids.ParseKeys(text)
	if err != nil {
		return ids.Keys{}, fmt.Errorf("key %s of Secret %s/%s (setting signingKeySecret): %w", key, s.velero, name, err)
	}
	return keys, nil
}

// parseSnapshotID reads the ID of a snapshot that Velero took from a backup, and
// refuses one that somebody else made or changed, as far as the location's keys
// tell.
func (s *Snapshotter) parseSnapshotID(ctx context.Context, text string) (ids.SnapshotID, error) {
	keys, err := s.signingKeys(ctx)
	if err != nil {
		return ids.SnapshotID{}, err
	}
	return keys.Parse(text, s.settings.RequireSignature)
}
