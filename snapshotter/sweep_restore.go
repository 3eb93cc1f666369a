package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/drivererr"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

const (
	// pendingTime is how long a claim without a volume is left to a driver that
	// does not say that it has ended.
	pendingTime = 24 * time.Hour
	// recordTime is how long a restore's record stays after a claim without a
	// volume is gone: csi-provisioner may still end a request that it has begun, and
	// the PersistentVolume that it then makes is found by its class.
	recordTime = 10 * time.Minute
	// removalTime is how long a sweep waits for one volume to go.
	removalTime = time.Minute
	// importTime is how long the controllers have to let go of a VolumeSnapshot and
	// its content. csi-provisioner from 6.2 on holds the VolumeSnapshot of a claim
	// that it gave up until it looks after all of them, minutes later.
	importTime = 10 * time.Second

	annotationClaimRemoved = "longshore.dev/claim-removed" // when the claim went without a volume
)

// removeRestore removes what a restore that nobody was given has left, and its
// volume. It returns a *leftError when the rest has to wait for the driver.
func (s *Snapshotter) removeRestore(ctx context.Context, record *storagev1.StorageClass) error {
	claim, err := s.stagingClaimOf(ctx, record)
	if err != nil {
		return err
	}
	if record, err = s.noteAbandoned(ctx, record, claim); err != nil {
		return err
	}
	volumes, err := s.volumesOf(ctx, record, claim)
	switch {
	case err != nil:
	case len(volumes) > 0:
		err = s.removeVolumes(ctx, record, claim, volumes, false)
	default:
		err = s.giveUpClaim(ctx, record, claim)
	}
	if err != nil {
		return err
	}
	return s.removeRecord(ctx, record)
}

// stagingClaimOf returns the claim of a restore, nil if there is none.
func (s *Snapshotter) stagingClaimOf(ctx context.Context, record *storagev1.StorageClass) (*corev1.PersistentVolumeClaim, error) {
	state := stateOf(record)
	claim, err := s.kube.Claims.In(state.namespace).Find(ctx, state.name)
	if err != nil || claim == nil {
		return nil, err
	}
	if objects.PurposeOf(claim) != objects.Restore || ptr.Deref(claim.Spec.StorageClassName, "") != record.Name || state.claimUID != "" && state.claimUID != claim.UID {
		return nil, fmt.Errorf("claim %s/%s has the name of the restore's and is not of its making; it is left alone", state.namespace, state.name)
	}
	return claim, nil
}

// volumesOf lists the PersistentVolumes that were made for a restore. One of the
// restore's class without that proof is another's: it is named in an error.
func (s *Snapshotter) volumesOf(ctx context.Context, record *storagev1.StorageClass, claim *corev1.PersistentVolumeClaim) ([]*corev1.PersistentVolume, error) {
	all, err := s.kube.PersistentVolumes.List(ctx, "")
	if err != nil {
		return nil, err
	}
	proof := stateOf(record).claim(record)
	if claim != nil {
		proof = objects.ClaimOf(claim, record.Provisioner)
	}
	var ours []*corev1.PersistentVolume
	var errs []error
	for _, pv := range all {
		if pv.Spec.StorageClassName != record.Name && (claim == nil || pv.Name != claim.Spec.VolumeName) {
			continue
		}
		if err := proof.Provisioned(pv); err != nil {
			errs = append(errs, err)
			continue
		}
		ours = append(ours, pv)
	}
	return ours, errors.Join(errs...)
}

// removeVolumes removes the claim and the PersistentVolumes of a restore, and with
// each its volume, unless keep or another PersistentVolume has it.
func (s *Snapshotter) removeVolumes(ctx context.Context, record *storagev1.StorageClass, claim *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume, keep bool) error {
	if claim != nil {
		if _, err := s.kube.Claims.In(claim.Namespace).Delete(ctx, claim, nil); err != nil {
			return err
		}
	}
	proof := stateOf(record).claim(record)
	for _, pv := range volumes {
		known, err := s.isKnown(ctx, pv.Spec.CSI.Driver, pv.Spec.CSI.VolumeHandle, pv.UID)
		switch {
		case err != nil:
		case keep || known:
			err = s.forgetVolume(ctx, proof, pv)
		default:
			err = s.deleteVolume(ctx, proof, pv)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteVolume has the driver delete the volume of a claim of ours, and waits for
// a while until it is gone.
func (s *Snapshotter) deleteVolume(ctx context.Context, proof objects.Claim, pv *corev1.PersistentVolume) error {
	client := s.kube.PersistentVolumes
	pv, err := client.Edit(ctx, pv, func(now *corev1.PersistentVolume) (kube.Patch, error) {
		if err := proof.Provisioned(now); err != nil {
			return nil, err
		}
		if now.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
			return nil, nil
		}
		return kube.Patch{"spec": map[string]any{"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimDelete}}, nil
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, removalTime)
	defer cancel()
	if err := client.UntilGone(soon, pv); err != nil {
		return &leftError{err.Error()}
	}
	return nil
}

// isKnown tells whether a PersistentVolume has that volume of the driver, besides
// the one of the given UID.
func (s *Snapshotter) isKnown(ctx context.Context, driver, handle string, besides types.UID) (bool, error) {
	all, err := s.kube.PersistentVolumes.List(ctx, "")
	return slices.ContainsFunc(all, func(pv *corev1.PersistentVolume) bool {
		return pv.UID != besides && hasVolume(pv, driver, handle)
	}), err
}

// giveUpClaim removes a claim that has no volume, once the driver has ended or has
// had time enough. It returns a *leftError while the driver may still make one.
func (s *Snapshotter) giveUpClaim(ctx context.Context, record *storagev1.StorageClass, claim *corev1.PersistentVolumeClaim) error {
	if claim == nil {
		removed, err := time.Parse(time.RFC3339, record.Annotations[annotationClaimRemoved])
		if rest := recordTime - s.now().Sub(removed); err == nil && rest > 0 {
			return &leftError{fmt.Sprintf("the driver may still end what it has begun; it is looked at again after %s", rest.Round(time.Second))}
		}
		return nil
	}
	age := s.now().Sub(claim.CreationTimestamp.Time)
	if warning := s.lastWarning(ctx, claim); age < pendingTime && !drivererr.Final(warning) {
		return &leftError{fmt.Sprintf("claim %s/%s waits for a volume that the driver may still make; %s old; last warning: %q", claim.Namespace, claim.Name, age.Round(time.Second), warning)}
	}
	record, err := s.kube.StorageClasses.Edit(ctx, record, func(*storagev1.StorageClass) (kube.Patch, error) {
		return annotate(map[string]string{annotationClaimRemoved: objects.FormatTime(s.now())}), nil
	})
	if err != nil {
		return err
	}
	if err := s.removePending(ctx, claim); err != nil {
		return err
	}
	return s.giveUpClaim(ctx, record, nil)
}

// removePending removes a claim that has no volume. It returns a *leftError if it has
// one by now.
func (s *Snapshotter) removePending(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	_, err := s.kube.Claims.In(claim.Namespace).Delete(ctx, claim, func(now *corev1.PersistentVolumeClaim) (kube.Patch, error) {
		if now.Spec.VolumeName != "" {
			return nil, &leftError{"its volume has just been made"}
		}
		return nil, nil
	})
	return err
}

// removeRecord removes the objects of the snapshot that a restore was made from,
// and then its record.
func (s *Snapshotter) removeRecord(ctx context.Context, record *storagev1.StorageClass) error {
	state := stateOf(record)
	client := s.kube.VolumeSnapshots.In(state.namespace)
	snapshot, err := client.Find(ctx, state.name)
	if err != nil {
		return err
	}
	content, err := s.kube.VolumeSnapshotContents.Find(ctx, state.name)
	if err != nil {
		return err
	}
	if err := s.deleteImports(ctx, snapshot, content); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, importTime)
	defer cancel()
	if snapshot != nil {
		err = client.UntilGone(soon, snapshot)
	}
	if err == nil && content != nil {
		err = s.kube.VolumeSnapshotContents.UntilGone(soon, content)
	}
	if err != nil {
		return &leftError{err.Error()}
	}
	// csi-provisioner makes a PersistentVolume again if somebody changed its claim at
	// that time. It holds the VolumeSnapshot until then.
	if again, err := s.volumesOf(ctx, record, nil); err != nil || len(again) > 0 {
		return &leftError{fmt.Sprintf("PersistentVolumes of it are there (%d, %v)", len(again), err)}
	}
	_, err = s.kube.StorageClasses.Delete(ctx, record, nil)
	return err
}

// finishHandOver removes what is left of a restore whose volume was handed over. While
// the PersistentVolume that it was taken from is there, SetVolumeID has not succeeded, and
// the volume goes too. Else Velero was given the volume. Where no PersistentVolume has
// it, Velero may have died before it made its own, or that may have come and gone: a
// person has to decide.
func (s *Snapshotter) finishHandOver(ctx context.Context, record *storagev1.StorageClass) error {
	claim, err := s.stagingClaimOf(ctx, record)
	if err != nil {
		return err
	}
	staging, err := s.volumesOf(ctx, record, claim)
	if err != nil {
		return err
	}
	state := stateOf(record)
	given := !slices.ContainsFunc(staging, func(pv *corev1.PersistentVolume) bool {
		return pv.UID == state.volumeUID && pv.DeletionTimestamp == nil
	})
	if err := s.removeVolumes(ctx, record, claim, staging, given); err != nil {
		return err
	}
	known, err := s.isKnown(ctx, state.driver, state.handle, "")
	if err != nil {
		return err
	}
	if !known && given && !state.adopted {
		return fmt.Errorf("velero was given volume %s of driver %s for PersistentVolume %s, yet no PersistentVolume has it; it may be in use elsewhere, so decide by hand: remove the volume in the storage if nobody needs it, then delete StorageClass %s", state.handle, state.driver, state.handedOver, record.Name)
	}
	return s.removeRecord(ctx, record)
}
