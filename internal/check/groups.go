package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// groups tells how the volumes of a group are snapshotted, by the setting groups and what
// the cluster and the drivers have for it.
func (v *volumeSnapshotter) groups(ctx context.Context) (string, error) {
	setting := v.s.Settings().Groups
	if setting == snapshotter.GroupsOff {
		return "each volume of a group is snapshotted when Velero asks for it (groups: off)", nil
	}
	instead := "side by side"
	if setting == snapshotter.GroupsRequire {
		instead = "the backup of a group fails"
	}
	var all []string
	asOne, wrong := 0, false
	for _, driver := range v.drivers {
		how, err := v.groupsOf(ctx, driver)
		if err == nil {
			asOne++
		} else {
			how = fmt.Sprintf("%s (%v)", instead, err)
			wrong = wrong || setting == snapshotter.GroupsRequire || !errors.Is(err, snapshotter.ErrNoGroups)
		}
		all = append(all, driver+": "+how)
	}
	detail := "groups: " + setting + "; " + strings.Join(all, "; ")
	switch {
	case !wrong:
		return detail, nil
	case setting == snapshotter.GroupsRequire && asOne == 0:
		return "", Fail(detail, groupsHint)
	}
	return "", Warn(detail, groupsHint)
}

const groupsHint = "if the driver takes groups, give it one VolumeGroupSnapshotClass, and the cluster the CRDs of groupsnapshot.storage.k8s.io; " +
	"else set groups: auto, and freeze applications by hooks"

// groupsOf tells by what groups of a driver's volumes are taken as one, or why they are not.
func (v *volumeSnapshotter) groupsOf(ctx context.Context, driver string) (string, error) {
	class, version, err := v.s.GroupClassOf(ctx, driver)
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(v.lacking, func(right string) bool { return strings.Contains(right, "groupsnapshot.storage.k8s.io") }); i >= 0 {
		return "", errors.New("Velero may not " + v.lacking[i])
	}
	return fmt.Sprintf("as one, by VolumeGroupSnapshotClass %s (%s)", class, version), nil
}
