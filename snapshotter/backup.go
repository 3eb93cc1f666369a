package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fresh tells whether an object of an earlier call belongs to the backup that
// is running now, and not to one of the same name that was deleted since. Where
// Velero's Backup cannot be read, the object's age decides.
func (s shot) fresh(ctx context.Context, object metav1.Object) bool {
	created := object.GetCreationTimestamp().Time
	started, err := s.backupStarted(ctx)
	if err != nil || started.IsZero() {
		s.log.WithError(err).WithField("backup", s.backup).Debug("cannot tell when the backup started; go by age")
		return time.Since(created) < s.settings.SnapshotTimeout
	}
	return !created.Before(started)
}

// backupStarted returns when the request's backup was created, the zero time if
// there is no such backup.
func (s shot) backupStarted(ctx context.Context) (time.Time, error) {
	if s.backup == "" {
		return time.Time{}, nil
	}
	raw, err := s.kube.Raw(ctx, fmt.Sprintf("/apis/velero.io/v1/namespaces/%s/backups/%s", s.velero, s.backup), nil)
	if apierrors.IsNotFound(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("get Backup %s/%s: %w", s.velero, s.backup, err)
	}
	var backup metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &backup); err != nil {
		return time.Time{}, fmt.Errorf("read Backup %s/%s: %w", s.velero, s.backup, err)
	}
	return backup.CreationTimestamp.Time, nil
}
