package snapshotter

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// restored is a volume that SetVolumeID has given to Velero in this process.
type restored struct{ driver, handle string }

// FollowRestored is told of a PersistentVolume, as JSON, that Velero is about to make. It
// returns its name if it has a volume that SetVolumeID has given to Velero, else "".
func (o *Operations) FollowRestored(persistentVolume []byte) (name string, err error) {
	pv, err := readVolume(persistentVolume)
	if err != nil {
		return "", err
	}
	if csi := pv.Spec.CSI; csi != nil {
		if _, ours := o.restored.Load(restored{csi.Driver, csi.VolumeHandle}); ours {
			return pv.Name, nil
		}
	}
	return "", nil
}

func (s *Snapshotter) noteRestored(volume *corev1.PersistentVolume) {
	if s.begun != nil {
		s.begun.restored.Store(restored{volume.Spec.CSI.Driver, volume.Spec.CSI.VolumeHandle}, true)
	}
}

const (
	// boundSoon is how long Bound waits for what the controllers do at once. Velero asks
	// again only after 10 seconds.
	boundSoon = 2 * time.Second
	// boundLimit is how long both may be there without being bound.
	boundLimit = 5 * time.Minute
)

// Bound tells whether a restored PersistentVolume serves its claim. One whose claim was
// not restored, or whose class waits for a consumer, has only to be available.
func (s *Snapshotter) Bound(ctx context.Context, name string) (Progress, error) {
	pv, err := s.kube.PersistentVolumes.Find(ctx, name)
	if err != nil {
		return Progress{}, err
	}
	if pv == nil {
		return Progress{Done: true, Failure: "PersistentVolume " + name + " is not there"}, nil
	}
	now, err := s.boundState(ctx, pv)
	if err != nil || now.Done {
		return now, err
	}
	soon, cancel := context.WithTimeout(ctx, boundSoon)
	defer cancel()
	target := kube.Target{Name: name, Object: s.kube.PersistentVolumes.Describe(name), Until: "its claim to be bound"}
	changed, err := s.kube.PersistentVolumes.Until(soon, target, pv, func(now *corev1.PersistentVolume) (bool, string, error) {
		return now == nil || now.Status.Phase != pv.Status.Phase, "", nil
	})
	if err != nil || changed == nil {
		return now, nil
	}
	return s.boundState(ctx, changed)
}

func (s *Snapshotter) boundState(ctx context.Context, pv *corev1.PersistentVolume) (Progress, error) {
	now := Progress{Since: pv.CreationTimestamp.Time, State: fmt.Sprintf("PersistentVolume %s is %s", pv.Name, pv.Status.Phase)}
	switch phase := pv.Status.Phase; {
	case phase == corev1.VolumeBound, phase == corev1.VolumeAvailable && pv.Spec.ClaimRef == nil:
		return now.ended(""), nil
	case phase == corev1.VolumeFailed, phase == corev1.VolumeReleased:
		return now.ended(now.State + ", not bound to its claim"), nil
	case phase != corev1.VolumeAvailable:
		return now, nil
	}
	return s.claimState(ctx, pv, now)
}

// claimState tells of an available PersistentVolume how far its claim is.
func (s *Snapshotter) claimState(ctx context.Context, pv *corev1.PersistentVolume, now Progress) (Progress, error) {
	ref := pv.Spec.ClaimRef
	claim, err := s.kube.Claims.In(ref.Namespace).Find(ctx, ref.Name)
	if err != nil {
		return Progress{}, err
	}
	if claim == nil {
		return now.ended(""), nil
	}
	now.State += fmt.Sprintf(", and claim %s/%s is %s", ref.Namespace, ref.Name, claim.Status.Phase)
	waits, err := s.waitsForConsumer(ctx, pv.Spec.StorageClassName)
	switch other := claim.Spec.VolumeName; {
	case err != nil:
		return Progress{}, err
	case other != "" && other != pv.Name:
		return now.ended(now.State + " with another volume, " + other), nil
	case waits:
		return now.ended(""), nil
	case min(s.now().Sub(claim.CreationTimestamp.Time), s.now().Sub(pv.CreationTimestamp.Time)) > boundLimit:
		return now.ended(fmt.Sprintf("%s since %v", now.State, boundLimit)), nil
	}
	return now, nil
}

func (s *Snapshotter) waitsForConsumer(ctx context.Context, class string) (bool, error) {
	if class == "" {
		return false, nil
	}
	found, err := s.kube.StorageClasses.Find(ctx, class)
	return found != nil && ptr.Deref(found.VolumeBindingMode, "") == storagev1.VolumeBindingWaitForFirstConsumer, err
}

// ended is the progress of what has come to its end, with a failure or "" for none.
func (p Progress) ended(failure string) Progress {
	p.Done, p.Failure = true, failure
	return p
}
