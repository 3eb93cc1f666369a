package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// GetVolumeID returns the ID of the volume behind a PersistentVolume, or "" for
// one that this location does not take; the log then says why.
func (s *Snapshotter) GetVolumeID(_ context.Context, persistentVolume []byte) (string, error) {
	pv, err := readVolume(persistentVolume)
	if err != nil {
		return "", err
	}
	log := s.log.WithField("persistentVolume", pv.Name)
	if reason := s.whyNot(&pv); reason != "" {
		log.WithField("reason", reason).Info("this location does not take the volume")
		return "", nil
	}
	id := volumeIDOf(&pv)
	log.WithField("driver", id.Driver).Debug("this location takes the volume")
	return id.String(), nil
}

// readVolume reads a PersistentVolume as Velero sends it, as JSON.
func readVolume(persistentVolume []byte) (pv corev1.PersistentVolume, err error) {
	if err := json.Unmarshal(persistentVolume, &pv); err != nil {
		return pv, fmt.Errorf("read the PersistentVolume that Velero sent: %w", err)
	}
	return pv, nil
}

func volumeIDOf(pv *corev1.PersistentVolume) ids.VolumeID {
	csi := pv.Spec.CSI
	return ids.VolumeID{Driver: csi.Driver, Handle: csi.VolumeHandle, PV: pv.Name, StorageClass: pv.Spec.StorageClassName}
}

// annotationMigratedTo names the CSI driver that serves an in-tree volume.
const annotationMigratedTo = "pv.kubernetes.io/migrated-to"

// watchesVolumes are drivers that delete a volume when its PersistentVolume goes,
// whatever the reclaim policy, or that collect volumes which have no
// PersistentVolume named after a claim's UID.
var watchesVolumes = map[string]string{
	"io.openebs.csi-mayastor": "Mayastor deletes volumes whose PersistentVolume was replaced, so a restored one would be lost",
}

// whyNot says why this location does not take a volume, "" if it does.
func (s *Snapshotter) whyNot(pv *corev1.PersistentVolume) string {
	switch {
	case objects.IsRestoreClass(pv.Spec.StorageClassName):
		return "it is the volume of a restore under way, or one that a sweep removes"
	case pv.Spec.CSI == nil && pv.Annotations[annotationMigratedTo] != "":
		return fmt.Sprintf("it is an in-tree volume served by CSI driver %s, and its PersistentVolume does not have the handle by which that driver knows it; use file-system backup for it", pv.Annotations[annotationMigratedTo])
	case pv.Spec.CSI == nil:
		return "it is not a CSI volume"
	case !s.locationDrivers().Takes(pv.Spec.CSI.Driver):
		return fmt.Sprintf("its driver %s is not among the drivers of this location's config", pv.Spec.CSI.Driver)
	case watchesVolumes[pv.Spec.CSI.Driver] != "":
		return watchesVolumes[pv.Spec.CSI.Driver] + "; use file-system backup for it"
	}
	return ""
}

// GetVolumeInfo returns the volume's storage class, which Velero keeps and gives
// to CreateVolumeFromSnapshot. CSI has no notion of IOPS.
func (s *Snapshotter) GetVolumeInfo(_ context.Context, volumeID, _ string) (string, *int64, error) {
	id, err := ids.ParseVolumeID(volumeID)
	if err != nil {
		return "", nil, err
	}
	return id.StorageClass, nil, nil
}

// source is the volume of which a snapshot is taken, and the claim that uses it,
// nil if there is none.
type source struct {
	volume *corev1.PersistentVolume
	claim  *corev1.PersistentVolumeClaim
}

func (v source) claimRef() ids.ClaimRef {
	if v.claim == nil {
		return ids.ClaimRef{}
	}
	return ids.ClaimRef{Namespace: v.claim.Namespace, Name: v.claim.Name}
}

// find looks the volume up as it is now. A snapshot is one of the volume, which needs
// no claim.
func (s *Snapshotter) find(ctx context.Context, id ids.VolumeID) (source, error) {
	pv, err := s.kube.PersistentVolumes.Get(ctx, id.PV)
	if err != nil {
		return source{}, err
	}
	if csi := pv.Spec.CSI; csi == nil || csi.Driver != id.Driver || csi.VolumeHandle != id.Handle {
		return source{}, fmt.Errorf("PersistentVolume %s is no longer that volume", id.PV)
	}
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return source{volume: pv}, nil
	}
	claim, err := s.kube.Claims.In(ref.Namespace).Find(ctx, ref.Name)
	if claim != nil && claim.UID != ref.UID {
		claim = nil
	}
	return source{pv, claim}, err
}
