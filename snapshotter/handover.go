package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// A restored volume is known by a PersistentVolume at every moment: first by the
// staging one, then by both, at last by Velero's own. What a killed process
// leaves tells by the mark of the hand-over what may be done. Without the mark
// nobody was ever given the volume, so a sweep removes it. With the mark, another
// PersistentVolume that has the volume makes the staging one needless. Where there
// is none, Velero may have died before it made its own, or that may have come and
// gone and the volume be in use elsewhere: a person has to decide.

// handOverTimeout bounds the wait for Velero's PersistentVolume, which Velero
// makes as soon as it has been told the volume.
const handOverTimeout = 10 * time.Minute

// handOver notes on the staging PersistentVolume that its volume is given to
// Velero, for the PersistentVolume of the given name. It fails if the staging
// PersistentVolume does not keep the volume any more.
func (s *Snapshotter) handOver(ctx context.Context, id ids.NewVolumeID, to string) error {
	if id.Staging == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.RestoreTimeout)
	defer cancel()
	staging, err := s.mark(ctx, id, to)
	switch {
	case err == nil:
		go s.release(context.WithoutCancel(ctx), staging)
		return nil
	case apierrors.IsNotFound(err):
		return s.requireKnown(ctx, id)
	case apierrors.IsInvalid(err):
		return fmt.Errorf("PersistentVolume %s does not keep the volume any more; restore again: %w", id.Staging, err)
	}
	return fmt.Errorf("note on PersistentVolume %s that Velero is given its volume: %w", id.Staging, err)
}

// mark writes the mark, provided that no sweep has begun to remove the volume.
func (s *Snapshotter) mark(ctx context.Context, id ids.NewVolumeID, to string) (*corev1.PersistentVolume, error) {
	body, err := json.Marshal([]jsonPatch{
		{"test", "/spec/csi/volumeHandle", id.Handle},
		{"test", "/spec/persistentVolumeReclaimPolicy", corev1.PersistentVolumeReclaimRetain},
		{"add", "/metadata/annotations/" + pointer(annotationHandedOver), to},
	})
	if err != nil {
		return nil, err
	}
	return kube.Retry(ctx, func(ctx context.Context) (*corev1.PersistentVolume, error) {
		return s.kube.PersistentVolumes().Patch(ctx, id.Staging, types.JSONPatchType, body, metav1.PatchOptions{})
	})
}

func isHandedOver(pv *corev1.PersistentVolume) bool {
	_, marked := pv.Annotations[annotationHandedOver]
	return marked
}

// requireKnown accepts that the staging PersistentVolume is gone if that is since
// another has the volume, as when SetVolumeID is called once more.
func (s *Snapshotter) requireKnown(ctx context.Context, id ids.NewVolumeID) error {
	all, err := s.listVolumes(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(pv corev1.PersistentVolume) bool { return hasVolume(&pv, id.Driver, id.Handle) }) {
		return fmt.Errorf("PersistentVolume %s, which kept the volume, is gone, and maybe the volume with it; restore again", id.Staging)
	}
	return nil
}

// release removes the staging PersistentVolume when another has its volume. It
// goes on beside the calls; where the end of the process ends it, a sweep does
// the rest.
func (s *Snapshotter) release(ctx context.Context, staging *corev1.PersistentVolume) {
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	log := s.log.WithField("persistentVolume", staging.Name)
	client := s.kube.PersistentVolumes()
	source := staging.Spec.CSI
	target := kube.Target{Object: "volume " + source.VolumeHandle + " of driver " + source.Driver, Until: "Velero's PersistentVolume to have it"}
	_, err := kube.Until(ctx, client, target, staging, func(now *corev1.PersistentVolume) (bool, string, error) {
		return now != nil && now.UID != staging.UID && hasVolume(now, source.Driver, source.VolumeHandle), "", nil
	})
	if err == nil {
		s.awaitProvisioner(ctx, staging)
		err = remove(ctx, client, staging)
	}
	if err != nil {
		log.WithError(err).Warn("the staging PersistentVolume stays until it is swept")
		return
	}
	log.Debug("the staging PersistentVolume is given up, for another has its volume")
}

// provisioningTimeout is how long csi-provisioner may be at work once more. It
// gives a driver ten seconds, or as long as its flag --timeout says.
const provisioningTimeout = time.Minute

// awaitProvisioner waits until csi-provisioner has ended all that it began for the
// claim of a PersistentVolume, as far as its events tell. It would make that again
// if it had been removed meanwhile. One that marks VolumeSnapshots need not be
// waited for (see condemn).
func (s *Snapshotter) awaitProvisioner(ctx context.Context, staging *corev1.PersistentVolume) {
	claim := staging.Spec.ClaimRef
	if claim == nil || marksSnapshots(staging.Spec.CSI.Driver) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, provisioningTimeout)
	defer cancel()
	ask(ctx, time.Second, func() bool {
		return !isProvisioning(s.eventsOf(ctx, claim.Namespace, claim.UID, ""))
	})
}

// hasVolume tells whether a PersistentVolume is of that volume of the driver.
func hasVolume(pv *corev1.PersistentVolume, driver, handle string) bool {
	return pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver && pv.Spec.CSI.VolumeHandle == handle
}

func (s *Snapshotter) listVolumes(ctx context.Context) ([]corev1.PersistentVolume, error) {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.PersistentVolumeList, error) {
		return s.kube.PersistentVolumes().List(ctx, metav1.ListOptions{})
	})
	if err != nil {
		return nil, fmt.Errorf("list PersistentVolumes: %w", err)
	}
	return list.Items, nil
}
