package snapshotter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	record, claim, staging, err := s.staged(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.replaceVolume(pv, staging); err != nil {
		return nil, err
	}
	changed, err := json.Marshal(pv)
	if err != nil {
		return nil, err
	}
	if record, err = s.noteHandOver(ctx, record, claim, staging, name); err != nil {
		return nil, err
	}
	if err := s.removeStaging(ctx, claim, staging); err != nil {
		return nil, err
	}
	go s.release(context.WithoutCancel(ctx), record)()
	return changed, nil
}

// staged looks up what a restore has left, and proves that the volume is the one
// that was made for it.
func (s *Snapshotter) staged(ctx context.Context, id ids.NewVolumeID) (*storagev1.StorageClass, *corev1.PersistentVolumeClaim, *corev1.PersistentVolume, error) {
	fail := func(err error) (*storagev1.StorageClass, *corev1.PersistentVolumeClaim, *corev1.PersistentVolume, error) {
		return nil, nil, nil, err
	}
	record, err := s.kube.StorageClasses.Find(ctx, id.Staging)
	if err != nil {
		return fail(err)
	}
	if record == nil || objects.PurposeOf(record) != objects.Restore {
		return fail(fmt.Errorf("its record, StorageClass %s, is gone, and maybe the volume with it; restore again", id.Staging))
	}
	state := stateOf(record)
	claim, err := s.kube.Claims.In(state.namespace).Get(ctx, state.name)
	if err != nil {
		return fail(err)
	}
	volume, err := s.kube.PersistentVolumes.Get(ctx, claim.Spec.VolumeName)
	if err != nil {
		return fail(err)
	}
	if err := objects.ClaimOf(claim, state.driver).Provisioned(volume); err != nil {
		return fail(err)
	}
	if volume.Spec.CSI.VolumeHandle != id.Handle || state.driver != id.Driver {
		return fail(fmt.Errorf("PersistentVolume %s is of another volume", volume.Name))
	}
	return record, claim, volume, nil
}

// removeStaging removes the claim and then the PersistentVolume of a volume that
// stays.
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

// release removes the record when Velero's own PersistentVolume has the volume.
// It goes on beside the calls; where the end of the process ends it, a sweep does
// the rest.
func (s *Snapshotter) release(ctx context.Context, record *storagev1.StorageClass) func() {
	return contained(s.log, "the removal of the restore's StorageClass", func() {
		ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
		defer cancel()
		state := stateOf(record)
		target := kube.Target{Name: state.handedOver, Object: "PersistentVolume " + state.handedOver, Until: "Velero to make it with the restored volume"}
		_, err := s.kube.PersistentVolumes.Until(ctx, target, nil, func(now *corev1.PersistentVolume) (bool, string, error) {
			return now != nil && hasVolume(now, state.driver, state.handle), "", nil
		})
		if err == nil {
			err = s.removeRecord(ctx, record)
		}
		if err != nil {
			s.log.WithError(err).WithField("storageClass", record.Name).Info("the restore's StorageClass stays until a sweep")
		}
	})
}

// hasVolume tells whether a PersistentVolume is of that volume of the driver.
func hasVolume(pv *corev1.PersistentVolume, driver, handle string) bool {
	return pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver && pv.Spec.CSI.VolumeHandle == handle
}

// attributeProvisioner is what csi-provisioner writes into each volume it makes.
// vSphere's syncer takes a PersistentVolume that has it for one that it made.
const attributeProvisioner = "storage.kubernetes.io/csiProvisionerIdentity"

// deletionSecret are the annotations by which csi-provisioner finds the secret to
// delete a volume with.
var deletionSecret = []string{
	"volume.kubernetes.io/provisioner-deletion-secret-name",
	"volume.kubernetes.io/provisioner-deletion-secret-namespace",
}

// secretFields are the references to secrets in a PersistentVolume's csi section.
var secretFields = []string{
	"controllerPublishSecretRef", "nodeStageSecretRef", "nodePublishSecretRef", "controllerExpandSecretRef", "nodeExpandSecretRef",
}

// replaceVolume puts the volume of the staging PersistentVolume into Velero's.
func (s *Snapshotter) replaceVolume(pv map[string]any, staging *corev1.PersistentVolume) error {
	old, found, err := unstructured.NestedMap(pv, "spec", "csi")
	if err != nil || !found {
		return errors.New("it has no csi section")
	}
	driver, _ := old["driver"].(string)
	if present, err := s.locationDrivers().Present(driver); err != nil || present != staging.Spec.CSI.Driver {
		return errors.Join(fmt.Errorf("its driver is %s", driver), err)
	}
	spec, errSpec := runtime.DefaultUnstructuredConverter.ToUnstructured(&staging.Spec)
	fresh, _, errCSI := unstructured.NestedMap(spec, "csi")
	if err := errors.Join(errSpec, errCSI); err != nil {
		return err
	}
	for _, field := range append([]string{"driver", "volumeHandle", "volumeAttributes"}, secretFields...) {
		replaceField(old, fresh, field)
	}
	if attributes, ok := old["volumeAttributes"].(map[string]any); ok {
		delete(attributes, attributeProvisioner)
	}
	if old["fsType"] == nil {
		replaceField(old, fresh, "fsType")
	}
	own := pv["spec"].(map[string]any)
	own["csi"] = old
	replaceField(own, spec, "nodeAffinity")
	size := staging.Spec.Capacity[corev1.ResourceStorage]
	return errors.Join(unstructured.SetNestedField(pv, size.String(), "spec", "capacity", "storage"), setAnnotations(pv, staging, driver), setZoneLabels(pv, ids.TopologyOf(staging.Spec.NodeAffinity)))
}

func replaceField(to, from map[string]any, field string) {
	if value, ok := from[field]; ok {
		to[field] = value
	} else {
		delete(to, field)
	}
}

// setAnnotations has the driver that now serves the volume delete it in the end,
// with the secret that it needs.
func setAnnotations(pv map[string]any, staging *corev1.PersistentVolume, oldDriver string) error {
	annotations, _, err := unstructured.NestedStringMap(pv, "metadata", "annotations")
	if err != nil {
		return err
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	if annotations[objects.AnnotationProvisionedBy] == oldDriver {
		annotations[objects.AnnotationProvisionedBy] = staging.Spec.CSI.Driver
	}
	for _, key := range deletionSecret {
		if value, ok := staging.Annotations[key]; ok {
			annotations[key] = value
		} else {
			delete(annotations, key)
		}
	}
	if len(annotations) == 0 {
		return nil
	}
	return unstructured.SetNestedStringMap(pv, annotations, "metadata", "annotations")
}

// setZoneLabels corrects the zone labels of a PersistentVolume that has them, so
// that they do not contradict the new volume's topology. Several zones are
// joined as Kubernetes does.
func setZoneLabels(pv map[string]any, topology ids.Topology) error {
	labels, _, err := unstructured.NestedStringMap(pv, "metadata", "labels")
	if err != nil {
		return err
	}
	changed := false
	for _, label := range ids.ZoneLabels {
		values := topology.Values(label)
		if _, has := labels[label]; has && len(values) > 0 {
			labels[label] = strings.Join(values, "__")
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return unstructured.SetNestedStringMap(pv, labels, "metadata", "labels")
}
