package drill

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/longshore-dev/velero-plugin/internal/backups"
)

// labelSchedule is Velero's on the backups of a Schedule.
const labelSchedule = "velero.io/schedule-name"

// Backup is one that Velero knows.
type Backup struct {
	Name     string
	Location string // the name of its BackupStorageLocation
	Schedule string // that made it, "" if none did
}

func backupOf(o *object) Backup {
	location, _, _ := unstructured.NestedString(o.Object, "spec", "storageLocation")
	return Backup{Name: o.GetName(), Location: location, Schedule: o.GetLabels()[labelSchedule]}
}

// FindBackup asks Velero for a backup.
func (c *Cluster) FindBackup(ctx context.Context, name string) (Backup, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found, err := c.backups.Get(ctx, name)
	if apierrors.IsNotFound(err) {
		return Backup{}, fmt.Errorf("there is no Backup %s in namespace %s of the cluster at %s, or no Velero", name, c.Namespace, c.Config.Host)
	}
	if err != nil {
		return Backup{}, err
	}
	return backupOf(found), nil
}

// Latest asks Velero for the newest finished backup of a Schedule, in the location of
// that name or in any, and for newer ones that are not finished. One that has failed is
// finished: a drill of it tells so.
func (c *Cluster) Latest(ctx context.Context, schedule, location string) (newest Backup, unfinished []string, err error) {
	if schedule == "" || len(validation.IsValidLabelValue(schedule)) > 0 {
		return Backup{}, nil, fmt.Errorf("%q is no name of a Schedule", schedule)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	all, err := c.backups.List(ctx, labelSchedule+"="+schedule)
	if err != nil {
		return Backup{}, nil, err
	}
	all = slices.DeleteFunc(all, func(o *object) bool { return location != "" && backupOf(o).Location != location })
	slices.SortFunc(all, func(a, b *object) int { return begun(b).Compare(begun(a)) })
	for _, o := range all {
		if backups.Finished(phaseOf(o)) {
			return backupOf(o), unfinished, nil
		}
		unfinished = append(unfinished, o.GetName())
	}
	return Backup{}, nil, fmt.Errorf("no finished backup of schedule %s in namespace %s of the cluster at %s; not finished: %s", schedule, c.Namespace, c.Config.Host, few(unfinished))
}

// begun is when a backup began, or when its object was made if it has not.
func begun(o *object) time.Time {
	text, _, _ := unstructured.NestedString(o.Object, "status", "startTimestamp")
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t
	}
	return o.GetCreationTimestamp().Time
}
