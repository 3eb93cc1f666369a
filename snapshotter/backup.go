package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// backup is the Velero Backup that a snapshot is for.
type backup struct {
	name string
	uid  types.UID // "" if there is no such Backup, or it may not be read
}

// backupNamed looks a backup up. Its UID tells it from one of the same name that
// was deleted since, whose leftovers show an older state of the volume.
func (s *Snapshotter) backupNamed(ctx context.Context, name string) backup {
	b := backup{name: name}
	if name == "" {
		return b
	}
	raw, err := s.kube.Raw(ctx, fmt.Sprintf("/apis/velero.io/v1/namespaces/%s/backups/%s", s.velero, name), nil)
	var object metav1.PartialObjectMetadata
	if err == nil {
		err = json.Unmarshal(raw, &object)
	}
	if err != nil {
		s.log.WithError(err).WithField("backup", name).Debug("cannot read the Backup; go by its name")
		return b
	}
	b.uid = object.UID
	return b
}

// space is the namespace of the UUIDs made here, itself a random UUID.
var space = uuid.MustParse("6f1c2a9e-3a52-4f0c-9d43-8c1d5b7e2f10")

// snapshotUID returns the UID under which the driver is asked for the snapshot
// of a volume for this backup. Asked again under the same UID, a driver gives
// the same snapshot and not a second one. Where the backup is not known for
// sure, the UID is random: the same snapshot might then be an older backup's.
func (b backup) snapshotUID(id ids.VolumeID) types.UID {
	if b.uid == "" {
		return types.UID(uuid.NewString())
	}
	return types.UID(uuid.NewSHA1(space, []byte(string(b.uid)+"\x00"+id.String())).String())
}

// key tells one backup from all others, as far as that is known.
func (b backup) key() string {
	if b.uid == "" {
		return "name:" + b.name
	}
	return "uid:" + string(b.uid)
}
