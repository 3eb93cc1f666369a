package snapshotter

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// The StorageClass of a restore is also its record. It is made first and removed
// last, and says what may be done with the rest:
//
//   - made: a call is under way until its deadline. After that nobody was given the
//     volume, and a sweep removes all, with the volume.
//   - handed over: Velero was given the volume. Nothing removes it any more.
//   - abandoned: a sweep, or the call itself after a failure, has begun to remove
//     all; the volume can not be handed over any more.
//
// Each change has the resourceVersion as its precondition, so that only one of the
// last two can come to be.
const (
	annotationStaging    = "longshore.dev/staging-namespace"
	annotationClaimUID   = "longshore.dev/claim-uid" // of the staging claim, once it may be gone
	annotationHandedOver = "longshore.dev/handed-over"
	annotationHandle     = "longshore.dev/volume-handle" // of a volume that was handed over
	annotationVolumeUID  = "longshore.dev/volume-uid"    // of the PersistentVolume it was taken from
	annotationAdopted    = "longshore.dev/adopted"       // Velero's PersistentVolume has been seen
	annotationAbandoned  = "longshore.dev/abandoned"     // since when
)

// createRecord makes the StorageClass of the call.
func (r *restoration) createRecord(ctx context.Context) error {
	own, err := r.ownClass()
	if err == nil {
		r.record, err = r.kube.StorageClasses.Create(ctx, own)
	}
	return err
}

// ownClass is a copy of the target class under the name of the call, so that its
// claims are bound at once, and to no volume that was there before.
func (r *restoration) ownClass() (*storagev1.StorageClass, error) {
	parameters, err := classes.VolumeParameters(r.class, r.id)
	own := r.class.DeepCopy()
	own.ObjectMeta = r.call.Meta("", map[string]string{annotationStaging: r.settings.StagingNamespace})
	own.Parameters, own.AllowedTopologies = parameters, r.places[0]
	own.ReclaimPolicy, own.VolumeBindingMode = ptr.To(corev1.PersistentVolumeReclaimRetain), ptr.To(storagev1.VolumeBindingImmediate)
	return own, err
}

// recordState is what a record says.
type recordState struct {
	namespace, name string // of the staging objects
	driver          string
	claimUID        types.UID // "" if the claim was never removed
	handedOver      string    // the PersistentVolume that Velero restores with the volume
	handle          string    // of the volume that was handed over
	volumeUID       types.UID // of the staging PersistentVolume, which is gone when Velero has the volume
	adopted         bool      // Velero's own PersistentVolume has been seen
	abandoned       string    // since when
}

func stateOf(record *storagev1.StorageClass) recordState {
	notes := record.Annotations
	return recordState{
		namespace: notes[annotationStaging], name: record.Name, driver: record.Provisioner,
		claimUID: types.UID(notes[annotationClaimUID]), handedOver: notes[annotationHandedOver], handle: notes[annotationHandle], abandoned: notes[annotationAbandoned],
		volumeUID: types.UID(notes[annotationVolumeUID]), adopted: notes[annotationAdopted] != "",
	}
}

// claim is what the claim of the record was, as far as is known without it.
func (r recordState) claim(record *storagev1.StorageClass) objects.Claim {
	return objects.Claim{Namespace: r.namespace, Name: r.name, UID: r.claimUID, Created: record.CreationTimestamp.Time, Class: record.Name, Driver: r.driver}
}

// noteHandOver writes that Velero is given the volume, for the PersistentVolume of
// the given name, and until when the call that does so may run. It fails when the
// restore was abandoned, or was handed over for another PersistentVolume.
func (s *Snapshotter) noteHandOver(ctx context.Context, made staged, to string) (*storagev1.StorageClass, error) {
	return s.kube.StorageClasses.Edit(ctx, made.record, func(now *storagev1.StorageClass) (kube.Patch, error) {
		switch state := stateOf(now); {
		case state.abandoned != "" || now.DeletionTimestamp != nil:
			return nil, fmt.Errorf("the volume is being removed, since nobody asked for it before %s; restore again", now.Annotations[objects.AnnotationDeadline])
		case state.handedOver != "" && state.handedOver != to:
			return nil, fmt.Errorf("the volume was handed over already, for PersistentVolume %s", state.handedOver)
		}
		return annotate(map[string]string{
			annotationHandedOver: to,
			annotationHandle:     made.volume.Spec.CSI.VolumeHandle,
			annotationClaimUID:   string(made.claim.UID),
			annotationVolumeUID:  string(made.volume.UID),

			objects.AnnotationDeadline: objects.FormatTime(s.now().Add(handOverTimeout)),
		}), nil
	})
}

// noteAdopted writes that Velero's own PersistentVolume has the volume: if it is gone
// one day, so is the volume, or it was meant to stay.
func (s *Snapshotter) noteAdopted(ctx context.Context, record *storagev1.StorageClass) (*storagev1.StorageClass, error) {
	return s.kube.StorageClasses.Edit(ctx, record, func(*storagev1.StorageClass) (kube.Patch, error) {
		return annotate(map[string]string{annotationAdopted: "yes"}), nil
	})
}

// noteAbandoned writes that the restore is given up. It fails when the volume was
// handed over meanwhile.
func (s *Snapshotter) noteAbandoned(ctx context.Context, record *storagev1.StorageClass, claim *corev1.PersistentVolumeClaim) (*storagev1.StorageClass, error) {
	return s.kube.StorageClasses.Edit(ctx, record, func(now *storagev1.StorageClass) (kube.Patch, error) {
		state := stateOf(now)
		if state.handedOver != "" {
			return nil, fmt.Errorf("its volume %s was handed over for PersistentVolume %s", ids.Short(state.handle), state.handedOver)
		}
		notes := map[string]string{}
		if state.abandoned == "" {
			notes[annotationAbandoned] = objects.FormatTime(s.now())
		}
		if claim != nil && state.claimUID == "" {
			notes[annotationClaimUID] = string(claim.UID)
		}
		if len(notes) == 0 {
			return nil, nil
		}
		return annotate(notes), nil
	})
}

func annotate(notes map[string]string) kube.Patch {
	return kube.Patch{"metadata": map[string]any{"annotations": notes}}
}
