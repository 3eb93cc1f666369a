package snapshotter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// strikeTimeout bounds the removal of a claim, and then that of all the rest.
const strikeTimeout = 10 * time.Second

// strike removes the staging objects: with a volume that is kept, all but its
// PersistentVolume, by which it is known; otherwise the volume too. The claim
// goes first, since the snapshot controller holds a VolumeSnapshot from which a
// claim is being made.
//
// The removal of each object is asked for before the call returns. What a
// controller still holds then goes when it lets go; csi-provisioner, for one,
// looks only now and then after the VolumeSnapshots of claims it gave up.
func (s *stage) strike(ctx context.Context) {
	if err := s.strikeClaim(ctx); err != nil {
		s.log.WithError(err).Warn("the staging claim is still being removed")
	}
	var both sync.WaitGroup
	for _, step := range []func(context.Context) error{s.strikeSnapshot, s.strikeContent} {
		both.Go(func() {
			if err := step(ctx); err != nil {
				s.log.WithError(err).Warn("a staging object is still being removed")
			}
		})
	}
	both.Wait()
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
	ctx, cancel := aside(ctx)
	defer cancel()
	claim, err := s.getClaim(ctx, s.staging, s.name)
	if err != nil || claim == nil {
		return err
	}
	return s.abandonVolume(ctx, claim.Spec.VolumeName)
}

// abandonVolume has the provisioner remove a PersistentVolume with its volume as
// soon as no claim is bound to it, whatever the reclaim policy of its class. It
// does nothing to a volume that Velero was given, even in the very last moment.
func (s *Snapshotter) abandonVolume(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	for {
		pv, err := s.getVolume(ctx, name)
		if err != nil || pv == nil || isHandedOver(pv) {
			return wrap(err, "get PersistentVolume %s", name)
		}
		_, err = apply(ctx, s.kube.PersistentVolumes(), name, patch{
			"metadata": map[string]any{"uid": pv.UID, "resourceVersion": pv.ResourceVersion},
			"spec":     map[string]any{"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimDelete},
		})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) || ctx.Err() != nil {
			return wrap(err, "set the reclaim policy of PersistentVolume %s to Delete", name)
		}
	}
}

func (s *stage) strikeSnapshot(ctx context.Context) error {
	if s.snapshot == nil {
		return nil
	}
	if s.claim == nil || s.volume != nil {
		return s.strikeUnused(ctx, s.snapshot)
	}
	return strikeOne[*snapshotv1.VolumeSnapshot](ctx, s.kube.VolumeSnapshots(s.staging), describeSnapshot(s.snapshot), s.snapshot)
}

// strikeUnused removes a VolumeSnapshot of which no volume is being made, also
// where csi-provisioner's mark is all that holds it. csi-provisioner takes that
// away when it has made a volume, but gives up at a conflict; it would find the
// mark again in its round, minutes later.
func (s *Snapshotter) strikeUnused(ctx context.Context, vs *snapshotv1.VolumeSnapshot) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), strikeTimeout)
	defer cancel()
	client := s.kube.VolumeSnapshots(vs.Namespace)
	if err := remove(ctx, client, vs); err != nil {
		return fmt.Errorf("remove %s: %w", describeSnapshot(vs), err)
	}
	target := kube.Target{Name: vs.Name, Object: describeSnapshot(vs), Until: "its removal"}
	known := vs
	if isMarkedOnly(vs) {
		known = nil // csi-provisioner may be done since
	}
	left, err := kube.Until(ctx, client, target, known, func(now *snapshotv1.VolumeSnapshot) (bool, string, error) {
		return isGone(now, vs.UID) || isMarkedOnly(now), stateOf(now), nil
	})
	if err != nil || isGone(left, vs.UID) {
		return err
	}
	if _, err = unhook(ctx, client, left, finalizerSource); apierrors.IsNotFound(err) {
		return nil
	}
	return wrap(err, "take csi-provisioner's mark from %s", describeSnapshot(vs))
}

// isMarkedOnly tells whether csi-provisioner's mark is all that holds a
// VolumeSnapshot that is to go.
func isMarkedOnly(vs *snapshotv1.VolumeSnapshot) bool {
	return vs.DeletionTimestamp != nil && slices.Equal(vs.Finalizers, []string{finalizerSource})
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

// strikeOne removes an object, whatever becomes of ctx.
func strikeOne[T kube.Object, L runtime.Object](ctx context.Context, client remover[L], what string, object T) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), strikeTimeout)
	defer cancel()
	if err := remove(ctx, client, object); err != nil {
		return fmt.Errorf("remove %s: %w", what, err)
	}
	return gone(ctx, client, what, object)
}
