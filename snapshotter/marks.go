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
// It only saves requests: a process that does not know begins to look again.
var marking sync.Map

// provisionerMarks are the finalizers that csi-provisioner would set on the
// VolumeSnapshot. One that is there already spares it one of the six requests
// that it has for each volume, of which it allows itself five a second.
func (s *stage) provisionerMarks() []string {
	if _, known := marking.Load(s.id.Driver); known {
		return []string{finalizerSource}
	}
	return nil
}

// learnMarks looks, until stop is called, whether csi-provisioner marks the
// VolumeSnapshot, if that is not known yet.
func (s *stage) learnMarks(ctx context.Context) (stop func()) {
	if len(s.provisionerMarks()) > 0 {
		return func() {}
	}
	ctx, end := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		target := kube.Target{Name: s.name, Object: describeSnapshot(s.snapshot), Until: "csi-provisioner to mark it"}
		_, err := kube.Until(ctx, s.kube.VolumeSnapshots(s.staging), target, s.snapshot, func(now *snapshotv1.VolumeSnapshot) (bool, string, error) {
			return now != nil && slices.Contains(now.Finalizers, finalizerSource), "", nil
		})
		if err == nil {
			marking.Store(s.id.Driver, struct{}{})
		}
	})
	return func() {
		end()
		watching.Wait()
	}
}
