package snapshotter

import (
	"context"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// strike removes the staging objects: with a volume that is kept, all but the
// volume itself; otherwise the volume too. It is done before the call returns,
// or, if a controller is away, asked for.
//
// The order spares the controllers work they would put off: the snapshot
// controller holds a VolumeSnapshot as long as a claim is made from it.
func (s *stage) strike(ctx context.Context) {
	ctx, cancel := aside(ctx)
	defer cancel()
	steps := []func(context.Context) error{s.strikeClaim, s.strikeVolume, s.strikeSnapshot, s.strikeContent}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			s.log.WithError(err).Warn("a staging object is still being removed")
			ctx, cancel = aside(ctx)
			defer cancel()
		}
	}
}

func (s *stage) strikeClaim(ctx context.Context) error {
	if s.claim == nil {
		return nil
	}
	if s.volume == nil {
		if err := s.abandon(ctx); err != nil {
			return err
		}
	}
	return strikeOne(ctx, s.kube.Claims(s.staging), fmt.Sprintf("staging claim %s/%s", s.staging, s.name), s.claim)
}

// abandon sees to it that the volume of a failed restore goes with its claim.
func (s *stage) abandon(ctx context.Context) error {
	claim, err := s.getClaim(ctx, s.staging, s.name)
	if err != nil || claim == nil {
		return err
	}
	return s.abandonVolume(ctx, claim.Spec.VolumeName)
}

// abandonVolume has the provisioner remove a PersistentVolume with its volume as
// soon as no claim is bound to it, whatever the reclaim policy of its class.
func (s *Snapshotter) abandonVolume(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	_, err := apply(ctx, s.kube.PersistentVolumes(), name, patch{
		"spec": map[string]any{"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimDelete},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return wrap(err, "set the reclaim policy of PersistentVolume %s to Delete", name)
}

func (s *stage) strikeVolume(ctx context.Context) error {
	if s.volume == nil {
		return nil
	}
	return strikeOne(ctx, s.kube.PersistentVolumes(), "PersistentVolume "+s.volume.Name, s.volume)
}

func (s *stage) strikeSnapshot(ctx context.Context) error {
	if s.snapshot == nil {
		return nil
	}
	return strikeOne[*snapshotv1.VolumeSnapshot](ctx, s.kube.VolumeSnapshots(s.staging), describeSnapshot(s.snapshot), s.snapshot)
}

func (s *stage) strikeContent(ctx context.Context) error {
	if s.content == nil {
		return nil
	}
	return strikeOne[*snapshotv1.VolumeSnapshotContent](ctx, s.kube.VolumeSnapshotContents(), describeContent(s.content.Name), s.content)
}

// remover is the part of a typed client that removes an object for good.
type remover[L runtime.Object] interface {
	deleter
	kube.ListWatcher[L]
}

func strikeOne[T kube.Object, L runtime.Object](ctx context.Context, client remover[L], what string, object T) error {
	if err := remove(ctx, client, object); err != nil {
		return fmt.Errorf("remove %s: %w", what, err)
	}
	return gone(ctx, client, what, object)
}
