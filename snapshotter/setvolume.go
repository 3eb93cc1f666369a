package snapshotter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// SetVolumeID returns the PersistentVolume with its volume replaced by the one
// that volumeID names: what the driver's provisioner wrote about the new volume
// (handle, attributes, secrets, node affinity, capacity) takes the place of the
// old. All other fields stay as they came, known to this release or not; among
// them the file system, which came along in the snapshot.
//
// Before it returns, the restore's record says that Velero was given the volume,
// so that no sweep removes it, and the staging claim and PersistentVolume are
// gone: drivers that watch PersistentVolumes never see two of one volume.
func (s *Snapshotter) SetVolumeID(ctx context.Context, persistentVolume []byte, volumeID string) ([]byte, error) {
	id, err := ids.ParseNewVolumeID(volumeID)
	if err != nil {
		return nil, err
	}
	var pv map[string]any
	if err := json.Unmarshal(persistentVolume, &pv); err != nil {
		return nil, fmt.Errorf("read the PersistentVolume that Velero sent: %w", err)
	}
	name, _, _ := unstructured.NestedString(pv, "metadata", "name")
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	changed, err := s.handOver(ctx, id, pv, name)
	if err != nil {
		return nil, fmt.Errorf("give Velero volume %s of driver %s for PersistentVolume %s: %w", ids.Short(id.Handle), id.Driver, name, err)
	}
	return changed, nil
}

// handOverTimeout bounds the hand-over, and the wait for Velero's own
// PersistentVolume after it.
const handOverTimeout = 10 * time.Minute

func (s *Snapshotter) handOver(ctx context.Context, id ids.NewVolumeID, pv map[string]any, name string) ([]byte, error) {
	made, err := s.staged(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.replaceVolume(pv, made.volume); err != nil {
		return nil, err
	}
	changed, err := json.Marshal(pv)
	if err != nil {
		return nil, err
	}
	record, err := s.noteHandOver(ctx, made, name)
	if err != nil {
		return nil, err
	}
	if err := s.removeStaging(ctx, made.claim, made.volume); err != nil {
		return nil, err
	}
	s.noteRestored(made.volume)
	go s.release(context.WithoutCancel(ctx), record, made.touched())()
	return changed, nil
}

// staged is what a restore has left for the hand-over.
type staged struct {
	record *storagev1.StorageClass
	claim  *corev1.PersistentVolumeClaim
	volume *corev1.PersistentVolume // proven to be the claim's
}

// touched tells whether somebody else labelled or annotated the claim. A
// csi-provisioner before 6.2 may then make its PersistentVolume once more when all is
// over: the record stays for a sweep, which removes that one.
func (m staged) touched() bool {
	foreign := func(key string) bool {
		_, ours := m.record.Annotations[key]
		return !ours && !strings.Contains(key, "kubernetes.io/")
	}
	return !maps.Equal(m.claim.Labels, m.record.Labels) || slices.ContainsFunc(slices.Collect(maps.Keys(m.claim.Annotations)), foreign)
}

func (s *Snapshotter) staged(ctx context.Context, id ids.NewVolumeID) (made staged, err error) {
	if made.record, err = s.kube.StorageClasses.Find(ctx, id.Staging); err != nil {
		return made, err
	}
	if made.record == nil || objects.PurposeOf(made.record) != objects.Restore {
		return made, fmt.Errorf("its record, StorageClass %s, is gone, and maybe the volume with it; restore again", id.Staging)
	}
	state := stateOf(made.record)
	if made.claim, err = s.kube.Claims.In(state.namespace).Get(ctx, state.name); err != nil {
		return made, err
	}
	if made.volume, err = s.kube.PersistentVolumes.Get(ctx, made.claim.Spec.VolumeName); err != nil {
		return made, err
	}
	err = objects.ClaimOf(made.claim, state.driver).Provisioned(made.volume)
	if err == nil && !hasVolume(made.volume, id.Driver, id.Handle) {
		err = fmt.Errorf("PersistentVolume %s is of another volume", made.volume.Name)
	}
	return made, err
}

// DiscardVolume removes a volume that CreateVolumeFromSnapshot made and Velero was not
// given. It returns nil when nothing of it is left, and may be called again until then.
func (s *Snapshotter) DiscardVolume(ctx context.Context, volumeID string) error {
	id, err := ids.ParseNewVolumeID(volumeID)
	if err != nil {
		return err
	}
	record, err := s.kube.StorageClasses.Find(ctx, id.Staging)
	if err != nil || record == nil {
		return err
	}
	if objects.PurposeOf(record) != objects.Restore {
		return fmt.Errorf("StorageClass %s is not of this plugin's making, and is left alone", record.Name)
	}
	return s.removeRestore(ctx, record)
}

// removeStaging removes the claim, and then the PersistentVolume without its volume.
func (s *Snapshotter) removeStaging(ctx context.Context, claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) error {
	claims, proof := s.kube.Claims.In(claim.Namespace), objects.ClaimOf(claim, pv.Spec.CSI.Driver)
	if _, err := claims.Delete(ctx, claim, nil); err != nil {
		return err
	}
	if err := claims.UntilGone(ctx, claim); err != nil {
		return err
	}
	return s.forgetVolume(ctx, proof, pv)
}

// forgetVolume removes the PersistentVolume of a claim of ours, and leaves the
// volume in the storage.
func (s *Snapshotter) forgetVolume(ctx context.Context, proof objects.Claim, pv *corev1.PersistentVolume) error {
	volumes := s.kube.PersistentVolumes
	_, err := volumes.Delete(ctx, pv, func(now *corev1.PersistentVolume) (kube.Patch, error) {
		if now.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
			return nil, fmt.Errorf("%s was changed by someone else: its reclaim policy is %s", volumes.Describe(now.Name), now.Spec.PersistentVolumeReclaimPolicy)
		}
		return nil, proof.Provisioned(now)
	})
	if err != nil {
		return err
	}
	return volumes.UntilGone(ctx, pv)
}

// release notes when Velero's own PersistentVolume has the volume, and then removes the
// record unless it has to stay. It goes on beside the calls; where the end of the process
// ends it, which may be while the controllers let go of the snapshot, a sweep does the rest.
func (s *Snapshotter) release(ctx context.Context, record *storagev1.StorageClass, stays bool) func() {
	return contained(s.log, "the removal of the restore's StorageClass", func() {
		ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
		defer cancel()
		err := s.untilKnown(ctx, stateOf(record))
		if err == nil {
			record, err = s.noteAdopted(ctx, record)
		}
		if err == nil && !stays {
			err = s.removeRecord(ctx, record)
		}
		if left := new(leftError); errors.As(err, &left) { // its PersistentVolume was made again
			err = s.finishHandOver(ctx, record)
		}
		if err != nil {
			s.log.WithError(err).WithField("storageClass", record.Name).Info("the restore's StorageClass stays until a sweep")
		}
	})
}

// untilKnown waits until a PersistentVolume has the volume that was handed over. Velero
// gives it another name than it said where the old PersistentVolume is still there.
func (s *Snapshotter) untilKnown(ctx context.Context, state recordState) error {
	target := kube.Target{Object: "PersistentVolumes", Until: "Velero to make the one with the restored volume, for " + state.handedOver}
	_, err := s.kube.PersistentVolumes.Until(ctx, target, nil, func(now *corev1.PersistentVolume) (bool, string, error) {
		return now != nil && hasVolume(now, state.driver, state.handle), "", nil
	})
	return err
}

// hasVolume tells whether a PersistentVolume is of that volume of the driver.
func hasVolume(pv *corev1.PersistentVolume, driver, handle string) bool {
	return pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver && pv.Spec.CSI.VolumeHandle == handle
}

// attributeProvisioner is what csi-provisioner writes into each volume it makes.
// vSphere's syncer takes a PersistentVolume that has it for one that it made.
const attributeProvisioner = "storage.kubernetes.io/csiProvisionerIdentity"

// volumeFields are those of a PersistentVolume that say which volume it is, where
// that can be reached, and with which secrets it is used and deleted.
var volumeFields = [][]string{
	{"spec", "csi", "driver"},
	{"spec", "csi", "volumeHandle"},
	{"spec", "csi", "volumeAttributes"},
	{"spec", "csi", "controllerPublishSecretRef"},
	{"spec", "csi", "nodeStageSecretRef"},
	{"spec", "csi", "nodePublishSecretRef"},
	{"spec", "csi", "controllerExpandSecretRef"},
	{"spec", "csi", "nodeExpandSecretRef"},
	{"spec", "capacity", "storage"},
	{"spec", "nodeAffinity"},
	{"metadata", "annotations", "volume.kubernetes.io/provisioner-deletion-secret-name"},
	{"metadata", "annotations", "volume.kubernetes.io/provisioner-deletion-secret-namespace"},
	{"metadata", "annotations", "volume.kubernetes.io/controller-modify-secret-name"},
	{"metadata", "annotations", "volume.kubernetes.io/controller-modify-secret-namespace"},
}

// replaceVolume puts the volume of the staging PersistentVolume into Velero's. Zone
// labels go: the scheduler honours them too, and the new volume's place is in its
// node affinity.
func (s *Snapshotter) replaceVolume(pv map[string]any, staging *corev1.PersistentVolume) error {
	driver, found, err := unstructured.NestedString(pv, "spec", "csi", "driver")
	if err != nil || !found {
		return errors.New("it has no csi section")
	}
	if present, err := s.locationDrivers().Present(driver); err != nil || present != staging.Spec.CSI.Driver {
		return errors.Join(fmt.Errorf("its driver is %s", driver), err)
	}
	made, err := runtime.DefaultUnstructuredConverter.ToUnstructured(staging)
	errs := []error{err}
	for _, field := range volumeFields {
		errs = append(errs, replaceField(pv, made, field...))
	}
	unstructured.RemoveNestedField(pv, "spec", "csi", "volumeAttributes", attributeProvisioner)
	if _, has, _ := unstructured.NestedString(pv, "spec", "csi", "fsType"); !has {
		errs = append(errs, replaceField(pv, made, "spec", "csi", "fsType"))
	}
	if by, _, _ := unstructured.NestedString(pv, "metadata", "annotations", objects.AnnotationProvisionedBy); by == driver {
		errs = append(errs, replaceField(pv, made, "metadata", "annotations", objects.AnnotationProvisionedBy))
	}
	for _, label := range ids.ZoneLabels {
		unstructured.RemoveNestedField(pv, "metadata", "labels", label)
	}
	return errors.Join(errs...)
}

// replaceField has a field be as it is in from, or not be there.
func replaceField(to, from map[string]any, field ...string) error {
	value, found, err := unstructured.NestedFieldCopy(from, field...)
	if err != nil || !found {
		unstructured.RemoveNestedField(to, field...)
		return err
	}
	return unstructured.SetNestedField(to, value, field...)
}
