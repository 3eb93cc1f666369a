package snapshotter

import (
	"context"
	"errors"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/drivererr"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// provision has the driver make the volume, and proves that it is the one that
// was asked for.
func (r *restoration) provision(ctx context.Context) error {
	bound, err := r.claimVolume(ctx)
	for errors.Is(err, errElsewhere) {
		bound, err = r.claimElsewhere(ctx)
	}
	if err != nil {
		return err
	}
	volume, err := r.kube.PersistentVolumes.Get(ctx, bound.Spec.VolumeName)
	if err != nil {
		return err
	}
	if err := objects.ClaimOf(bound, r.id.Driver).Provisioned(volume); err != nil {
		return err
	}
	r.claim, r.volume = bound, volume
	return nil
}

// claimVolume makes the claim, and waits until it has its volume.
func (r *restoration) claimVolume(ctx context.Context) (_ *corev1.PersistentVolumeClaim, err error) {
	if r.claim, err = r.kube.Claims.In(r.settings.StagingNamespace).Create(ctx, r.stagingClaim()); err != nil {
		return nil, err
	}
	if source := r.claim.Spec.DataSource; source == nil || source.Name != r.snapshot.Name {
		return nil, errors.New("the staging claim was changed as it was made, and lost its source; its volume would be empty: look at the mutating webhooks and policies of the cluster")
	}
	return r.waitBound(ctx)
}

// claimElsewhere has the volume made in the next place, for another claim: after an
// answer that is final csi-provisioner leaves a claim alone for minutes. A claim that
// got its volume meanwhile is kept.
func (r *restoration) claimElsewhere(ctx context.Context) (*corev1.PersistentVolumeClaim, error) {
	r.nextPlace(ctx)
	err := r.removePending(ctx, r.claim)
	if left := new(leftError); errors.As(err, &left) {
		return r.waitBound(ctx)
	}
	if err == nil {
		err = r.kube.Claims.In(r.claim.Namespace).UntilGone(ctx, r.claim)
	}
	if err != nil {
		return nil, err
	}
	return r.claimVolume(ctx)
}

func (r *restoration) stagingClaim() *corev1.PersistentVolumeClaim {
	// csi-provisioner refuses less than the snapshot says it needs.
	size := resource.NewQuantity(max(r.id.Size, objects.RestoreSize(r.content)), resource.BinarySI)
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: r.call.Meta(r.settings.StagingNamespace),
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &r.record.Name,
			VolumeMode:       &r.id.Mode,
			AccessModes:      r.id.AccessModes,
			DataSource:       &corev1.TypedLocalObjectReference{APIGroup: ptr.To(snapshotv1.GroupName), Kind: "VolumeSnapshot", Name: r.snapshot.Name},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *size}},
		},
	}
	if r.id.AttributesClass != "" {
		claim.Spec.VolumeAttributesClassName = &r.id.AttributesClass
	}
	return claim
}

// waitBound waits until the claim has its volume. What the driver says meanwhile
// stands in events alone.
func (r *restoration) waitBound(ctx context.Context) (*corev1.PersistentVolumeClaim, error) {
	ctx, errs := r.tolerate(ctx, r.log)
	defer errs.stop()
	r.watchWarnings(ctx, r.claim, func(message string) {
		if message == "" {
			errs.again()
		}
		errs.report(message)
		switch elsewhere := drivererr.Elsewhere(message) && len(r.places) > 1; {
		case elsewhere && drivererr.Final(message):
			errs.end(errElsewhere)
		case elsewhere:
			r.nextPlace(ctx)
		}
	})
	claims := r.kube.Claims.In(r.settings.StagingNamespace)
	what := "staging " + claims.Describe(r.claim.Name)
	target := kube.Target{Name: r.claim.Name, Object: what, Until: "driver " + r.id.Driver + " and its csi-provisioner to make the volume"}
	return claims.Until(ctx, target, r.claim, func(now *corev1.PersistentVolumeClaim) (bool, string, error) {
		switch {
		case now == nil || now.DeletionTimestamp != nil:
			return false, "", errors.New(what + " was deleted by someone else")
		case now.Status.Phase == corev1.ClaimLost:
			return false, "", fmt.Errorf("%s lost its volume %s", what, now.Spec.VolumeName)
		}
		return now.Status.Phase == corev1.ClaimBound, errs.message(), nil
	})
}

// errElsewhere ends the wait for a volume that the driver will never make where it was
// asked for.
var errElsewhere = errors.New("the driver cannot make the volume there")

// nextPlace lets the driver make the volume in the next best place. csi-provisioner
// reads the class again before it asks again.
func (r *restoration) nextPlace(ctx context.Context) {
	refused := r.places[0]
	r.places = r.places[1:]
	r.log.WithField("refused", refused).WithField("next", r.places[0]).Warn("the driver cannot make the volume there; it may make it elsewhere")
	_, err := r.kube.StorageClasses.Edit(ctx, r.record, func(*storagev1.StorageClass) (kube.Patch, error) {
		return kube.Patch{"allowedTopologies": r.places[0]}, nil
	})
	if err != nil {
		r.log.WithError(err).Warn("the place of the volume cannot be changed")
	}
}

// abandon removes what a failed restore has made. A volume that was proven to be
// ours goes with its claim. Once the driver may have been asked for a volume, all
// that it needs stays, and a sweep removes it with the volume when the driver is
// done: a volume that it makes later could not be found otherwise.
func (r *restoration) abandon(ctx context.Context) error {
	if r.record == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	remove := r.removeRestore
	if r.claim == nil { // the driver was asked for nothing
		remove = r.removeRecord
	}
	err := errors.Join(r.removeGroup(ctx, r.group), remove(ctx, r.record))
	if left := new(leftError); errors.As(err, &left) {
		r.log.WithField("left", left.what).Warn("the driver may still be at work for the restore that failed; the next sweep removes what is left")
		return nil
	}
	return err
}
