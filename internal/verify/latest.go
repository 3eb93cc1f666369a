package verify

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/longshore-dev/velero-plugin/internal/backups"
)

// Latest returns the name of the newest finished backup of a schedule, and those
// of newer ones that Velero has not finished yet. One whose metadata cannot be read
// counts as finished: verifying it tells what is wrong. Velero names the backups of
// a schedule SCHEDULE-YYYYMMDDHHMMSS.
func Latest(ctx context.Context, l *backups.Location, schedule string) (name string, unfinished []string, err error) {
	names, err := l.Names(ctx)
	if err != nil {
		return "", nil, err
	}
	of, err := regexp.Compile(`^` + regexp.QuoteMeta(schedule) + `-\d{14}$`)
	if err != nil {
		return "", nil, err
	}
	for _, name := range slices.Backward(names) {
		if !of.MatchString(name) {
			continue
		}
		b, err := l.Metadata(ctx, name)
		switch {
		case err != nil && !backups.IsMissing(err) && !backups.IsDamage(err):
			return "", nil, err
		case err == nil && b.Schedule() != schedule: // one of a schedule whose name begins so
			continue
		case err == nil && !backups.Finished(b.Status.Phase):
			unfinished = append(unfinished, name)
			continue
		}
		return name, unfinished, nil
	}
	if len(unfinished) > 0 {
		return "", nil, fmt.Errorf("no backup of schedule %s is finished, of %s", schedule, few(unfinished, ", "))
	}
	return "", nil, fmt.Errorf("there is no backup of schedule %s among the %d of the location", schedule, len(names))
}
