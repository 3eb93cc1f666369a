package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

// elsewhere are data that are not in the objects of a backup, nor in the storage of a CSI
// driver: how many volumes are in kopia's repository of each namespace, and with others
// who save data.
type elsewhere struct {
	kopia  map[string]int // by namespace
	others map[string]int // by who saved them
}

// elsewhere counts the volumes whose data a data mover saved, and those of pods.
func (b *backup) elsewhere() elsewhere {
	e := elsewhere{map[string]int{}, map[string]int{}}
	for _, v := range b.moved {
		if mover := v.Moved.Mover; mover != "" && mover != "velero" {
			e.others["data mover "+mover]++
		} else {
			e.kopia[v.ClaimNamespace]++
		}
	}
	for i := range b.pods {
		if p := &b.pods[i]; p.Spec.Uploader == "kopia" {
			e.kopia[p.Spec.Pod.Namespace]++
		} else {
			e.others["restic"]++
		}
	}
	return e
}

// repositories wants kopia's repositories to be there, and says that nothing more is
// known of what is in them.
func (b *backup) repositories(ctx context.Context, seen map[string]bool) {
	e := b.elsewhere()
	if len(e.kopia)+len(e.others) == 0 {
		return
	}
	b.Step(ctx, "repositories", func(ctx context.Context) (string, error) {
		var f findings
		for _, namespace := range slices.Sorted(maps.Keys(e.kopia)) {
			there, known := seen[namespace]
			if !known {
				var err error
				if there, err = b.l.HasKopiaRepository(ctx, namespace); err != nil {
					return "", explained(err)
				}
				seen[namespace] = there
			}
			if data := fmt.Sprintf("the data of %s", check.Count(e.kopia[namespace], "volume")); there {
				f.warn("whether %s can be restored cannot be told: kopia's repository %s is there, and is not read", data, backups.KopiaRepository(namespace))
			} else {
				f.fail("%s cannot be restored: kopia's repository %s is not in the location", data, backups.KopiaRepository(namespace))
			}
		}
		for _, who := range slices.Sorted(maps.Keys(e.others)) {
			f.warn("whether the data of %s can be restored cannot be told: %s saved them", check.Count(e.others[who], "volume"), who)
		}
		if len(f.bad) > 0 {
			return f.end("", "the data were deleted, or went to another bucket or prefix: look who else writes to the bucket and which lifecycle rules it has, and make a new backup")
		}
		return f.end("", "only a restore reads these data: velero-plugin-longshore drill "+b.name)
	})
}
