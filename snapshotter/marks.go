package snapshotter

import (
	"context"
	"slices"
	"sync"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// finalizerSource is what csi-provisioner, from 6.3 on, puts on a VolumeSnapshot
// before it makes a volume of it, and takes away after that. An older one knows
// nothing of it, and would leave it there for ever.
const finalizerSource = "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection"

// marking holds the drivers whose csi-provisioner was seen to set finalizerSource.
// A process that does not know it begins to look again.
var marking sync.Map

// provisionerMarks are the finalizers that csi-provisioner would set on the
// VolumeSnapshot. One that is there already spares it one of the six requests
// that it has for each volume, of which it allows itself five a second.
func (s *stage) provisionerMarks() []string {
	if marksSnapshots(s.id.Driver) {
		return []string{finalizerSource}
	}
	return nil
}

func marksSnapshots(driver string) bool {
	_, known := marking.Load(driver)
	return known
}

// condemn asks for the deletion of the VolumeSnapshot as soon as csi-provisioner's
// mark is on it, and leaves that mark as all that holds it: csi-provisioner can
// finish what it does for the claim, and begin nothing else. It looks for the mark
// until stop is called.
//
// csi-provisioner begins once more with a claim that was changed while it made the
// volume. It finds the same volume then, and makes its PersistentVolume again if
// that has been removed, with the reclaim policy of the class: since the claim has
// gone too, it would delete the volume that was restored. A VolumeSnapshot that
// goes with the mark, just before the first PersistentVolume is made, ends that.
func (s *stage) condemn(ctx context.Context) (stop func()) {
	waiting, end := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() {
		if err := s.awaitMark(waiting); err != nil {
			return
		}
		marking.Store(s.id.Driver, struct{}{})
		condemned, err := s.condemned(ctx)
		if err != nil {
			s.log.WithError(err).Debug("the staging VolumeSnapshot is removed later")
			return
		}
		s.snapshot = condemned
	})
	return func() {
		end()
		working.Wait()
	}
}

func (s *stage) condemned(ctx context.Context) (*snapshotv1.VolumeSnapshot, error) {
	ctx, cancel := aside(ctx)
	defer cancel()
	client := s.kube.VolumeSnapshots(s.staging)
	if err := remove(ctx, client, s.snapshot); err != nil {
		return nil, err
	}
	return unhook(ctx, client, s.snapshot, finalizerSnapshot)
}

func (s *stage) awaitMark(ctx context.Context) error {
	target := kube.Target{Name: s.name, Object: describeSnapshot(s.snapshot), Until: "csi-provisioner to mark it"}
	_, err := kube.Until(ctx, s.kube.VolumeSnapshots(s.staging), target, s.snapshot, func(now *snapshotv1.VolumeSnapshot) (bool, string, error) {
		return now != nil && slices.Contains(now.Finalizers, finalizerSource), "", nil
	})
	return err
}
