package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// GetVolumeID returns the ID of the volume behind a PersistentVolume, or "" for
// one that this location does not take; the log then says why.
func (s *Snapshotter) GetVolumeID(_ context.Context, persistentVolume []byte) (string, error) {
	var pv corev1.PersistentVolume
	if err := json.Unmarshal(persistentVolume, &pv); err != nil {
		return "", fmt.Errorf("read the PersistentVolume that Velero sent: %w", err)
	}
	log := s.log.WithField("persistentVolume", pv.Name)
	if reason := s.passesOver(&pv); reason != "" {
		log.WithField("reason", reason).Info("this location does not take the volume")
		return "", nil
	}
	id := ids.VolumeID{Driver: pv.Spec.CSI.Driver, Handle: pv.Spec.CSI.VolumeHandle, PV: pv.Name, StorageClass: pv.Spec.StorageClassName}
	log.WithField("volumeID", id.String()).Debug("this location takes the volume")
	return id.String(), nil
}

// passesOver says why this location does not take a volume, "" if it does.
func (s *Snapshotter) passesOver(pv *corev1.PersistentVolume) string {
	switch {
	case pv.Spec.CSI == nil && pv.Annotations[annotationMigratedTo] != "":
		return fmt.Sprintf("it is an in-tree volume served by CSI driver %s; the snapshot controller takes snapshots only of volumes whose PersistentVolume has a csi section", pv.Annotations[annotationMigratedTo])
	case pv.Spec.CSI == nil:
		return "it is not a CSI volume"
	case !s.locationDrivers().Takes(pv.Spec.CSI.Driver):
		return fmt.Sprintf("its driver %s is not among the drivers of this location's config", pv.Spec.CSI.Driver)
	case pv.Spec.ClaimRef == nil:
		return "no claim is bound to it, and a VolumeSnapshot is taken of a claim"
	}
	return ""
}

const annotationMigratedTo = "pv.kubernetes.io/migrated-to"

// GetVolumeInfo returns the volume's storage class, which Velero keeps and gives
// to CreateVolumeFromSnapshot. CSI has no notion of IOPS.
func (s *Snapshotter) GetVolumeInfo(_ context.Context, volumeID, _ string) (string, *int64, error) {
	id, err := ids.ParseVolumeID(volumeID)
	if err != nil {
		return "", nil, err
	}
	return id.StorageClass, nil, nil
}

// source is a volume in use, with the claim by which it is.
type source struct {
	volume *corev1.PersistentVolume
	claim  *corev1.PersistentVolumeClaim
}

func (v source) claimName() string { return v.claim.Namespace + "/" + v.claim.Name }

// find looks the volume up as it is now.
func (s *Snapshotter) find(ctx context.Context, id ids.VolumeID) (source, error) {
	pv, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.PersistentVolume, error) {
		return s.kube.PersistentVolumes().Get(ctx, id.PV, metav1.GetOptions{})
	})
	if err != nil {
		return source{}, fmt.Errorf("get PersistentVolume %s: %w", id.PV, err)
	}
	if csi := pv.Spec.CSI; csi == nil || csi.Driver != id.Driver || csi.VolumeHandle != id.Handle {
		return source{}, fmt.Errorf("PersistentVolume %s is no longer the volume %s of driver %s", id.PV, id.Handle, id.Driver)
	}
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return source{}, fmt.Errorf("PersistentVolume %s is bound to no claim; a VolumeSnapshot is taken of a claim", id.PV)
	}
	claim, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.PersistentVolumeClaim, error) {
		return s.kube.Claims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	})
	if apierrors.IsNotFound(err) {
		return source{}, fmt.Errorf("PersistentVolume %s is not bound: its claim %s/%s is gone; only bound claims can be snapshotted", id.PV, ref.Namespace, ref.Name)
	}
	if err != nil {
		return source{}, fmt.Errorf("get claim %s/%s of PersistentVolume %s: %w", ref.Namespace, ref.Name, id.PV, err)
	}
	return source{pv, claim}, boundTo(claim, pv)
}

// boundTo fails unless claim uses exactly this volume: a snapshot of the claim
// would otherwise be one of another volume.
func boundTo(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) error {
	if claim.Status.Phase == corev1.ClaimBound && claim.Spec.VolumeName == pv.Name && claim.UID == pv.Spec.ClaimRef.UID {
		return nil
	}
	return fmt.Errorf("claim %s/%s is not bound to PersistentVolume %s (phase %s, volume %q); only bound claims can be snapshotted",
		claim.Namespace, claim.Name, pv.Name, claim.Status.Phase, claim.Spec.VolumeName)
}

func (s *Snapshotter) logFor(r request) logrus.FieldLogger {
	return s.log.WithFields(logrus.Fields{"request": r.name, "purpose": r.purpose})
}
