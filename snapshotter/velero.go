package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// veleroBackup is a Backup of Velero, as far as it is read here.
type veleroBackup struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		StorageLocation             string `json:"storageLocation"`
		VolumeGroupSnapshotLabelKey string `json:"volumeGroupSnapshotLabelKey"`
	} `json:"spec"`
	Status struct {
		Phase               string       `json:"phase"`
		CompletionTimestamp *metav1.Time `json:"completionTimestamp"`
	} `json:"status"`
}

// readVelero reads one of Velero's objects. One that is not there is nil.
func readVelero[T any](ctx context.Context, s *Snapshotter, plural, name string) (*T, error) {
	object := new(T)
	raw, err := s.kube.Raw(ctx, fmt.Sprintf("/apis/velero.io/v1/namespaces/%s/%s/%s", s.owner.Velero, plural, name), nil, nil)
	if err == nil {
		err = json.Unmarshal(raw, object)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s/%s of Velero: %w", plural, s.owner.Velero, name, err)
	}
	return object, nil
}

// findBackup returns a Backup, nil if there is none of that name.
func (s *Snapshotter) findBackup(ctx context.Context, name string) (*veleroBackup, error) {
	return readVelero[veleroBackup](ctx, s, "backups", name)
}

// LocationConfig returns the config of a volume snapshot location of Velero. found is
// false if there is none of that name, or it is of another provider.
func (s *Snapshotter) LocationConfig(ctx context.Context, name, provider string) (config map[string]string, found bool, err error) {
	type snapshotLocation struct {
		Spec struct {
			Provider string            `json:"provider"`
			Config   map[string]string `json:"config"`
		} `json:"spec"`
	}
	location, err := readVelero[snapshotLocation](ctx, s, "volumesnapshotlocations", name)
	if err != nil || location == nil {
		return nil, false, err
	}
	return location.Spec.Config, location.Spec.Provider == provider, nil
}

// backupOf returns the Backup that a snapshot is taken for, an empty one if it cannot be
// read: that is no reason to take none.
func (s *Snapshotter) backupOf(ctx context.Context, name string) veleroBackup {
	if name == "" {
		return veleroBackup{}
	}
	found, err := s.findBackup(ctx, name)
	if err != nil {
		s.log.WithError(err).WithField("backup", name).Warn("the Backup cannot be read; a VolumeSnapshotClass that its annotations choose does not count")
	}
	if found == nil {
		return veleroBackup{}
	}
	return *found
}

// StoreName is what tells the places apart where a backup storage location may be:
// the s3Url that it says itself, its bucket and its prefix.
func StoreName(s3URL, bucket, prefix string) string {
	return strings.TrimSpace(strings.TrimRight(s3URL, "/") + " " + strings.Trim(strings.Trim(bucket, "/")+"/"+strings.Trim(prefix, "/"), "/"))
}

// storeOf returns the name of the store that a backup storage location is now, ""
// if there is no such location.
func (s *Snapshotter) storeOf(ctx context.Context, location string) (string, error) {
	type storageLocation struct {
		Spec struct {
			Config        map[string]string `json:"config"`
			ObjectStorage struct {
				Bucket string `json:"bucket"`
				Prefix string `json:"prefix"`
			} `json:"objectStorage"`
		} `json:"spec"`
	}
	found, err := readVelero[storageLocation](ctx, s, "backupstoragelocations", location)
	if err != nil || found == nil {
		return "", err
	}
	return StoreName(found.Spec.Config["s3Url"], found.Spec.ObjectStorage.Bucket, found.Spec.ObjectStorage.Prefix), nil
}
