package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// Leftover is an object that a plugin process made and, since it was killed, did
// not remove.
type Leftover struct {
	Kind, Namespace, Name string
	Purpose               string // what it was made for: snapshot, restore or delete
	Backup                string // the backup it was made for, if known
	Age                   time.Duration
	Remedy                string // what is done about it

	clear func(ctx context.Context) error
}

// FindLeftovers lists what is older than age. What is being deleted already is not
// listed: the controllers finish that by themselves.
//
// A call hands its result to Velero only when the deletion of all its objects
// has been asked for. So whatever is found here, nobody knows of: a snapshot or
// volume behind it can go too. The one exception is the PersistentVolume of a
// restored volume, which says itself whether Velero was given the volume.
func (s *Snapshotter) FindLeftovers(ctx context.Context, age time.Duration) ([]Leftover, error) {
	w := sweeper{Snapshotter: s, age: age, now: time.Now()}
	for _, find := range []func(context.Context) error{w.claims, w.volumes, w.snapshots, w.contents} {
		if err := find(ctx); err != nil {
			return nil, fmt.Errorf("look for leftovers: %w", err)
		}
	}
	return w.found, nil
}

// Sweep removes what is older than age and returns what it found. It goes on
// after an error. age must exceed the timeouts of every location, so that no
// call under way is taken for a crashed one.
func (s *Snapshotter) Sweep(ctx context.Context, age time.Duration) ([]Leftover, error) {
	if longest := s.settings.longest(); age <= longest {
		return nil, fmt.Errorf("sweep what is older than %s: the age must exceed the timeouts of the location (%s), or calls under way would be hit", age, longest)
	}
	found, err := s.FindLeftovers(ctx, age)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, l := range found {
		log := s.log.WithField("kind", l.Kind).WithField("name", l.Name).WithField("purpose", l.Purpose)
		if err := l.clear(ctx); err != nil {
			errs = append(errs, fmt.Errorf("sweep %s %s: %w", l.Kind, l.Name, err))
			continue
		}
		log.WithField("remedy", l.Remedy).Warn("removed the leftover of a plugin process that was killed")
	}
	return found, errors.Join(errs...)
}

// swept makes each process sweep once.
var swept sync.Once

// sweepTimeout bounds a sweep in the background.
const sweepTimeout = 5 * time.Minute

// sweepOnce sweeps in the background, once in the life of the process, after a
// call that succeeded: the cluster is then well enough.
func (s *Snapshotter) sweepOnce(ctx context.Context) {
	if s.settings.SweepAfter == 0 {
		return
	}
	swept.Do(func() {
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepTimeout)
			defer cancel()
			if _, err := s.Sweep(ctx, s.settings.SweepAfter); err != nil {
				s.log.WithError(err).Warn("leftovers of a plugin process that was killed remain")
			}
		}()
	})
}

// sweeper collects leftovers.
type sweeper struct {
	*Snapshotter
	age   time.Duration
	now   time.Time
	found []Leftover
}

var byUs = metav1.ListOptions{LabelSelector: labelManagedBy + "=" + managedByUs}

// old tells whether the object is a leftover by its age and state.
func (w *sweeper) old(object metav1.Object) bool {
	return object.GetDeletionTimestamp() == nil && w.now.Sub(object.GetCreationTimestamp().Time) > w.age
}

func (w *sweeper) add(kind string, object metav1.Object, remedy string, clear func(ctx context.Context) error) {
	w.found = append(w.found, Leftover{
		Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(),
		Purpose: purposeOf(object), Backup: object.GetAnnotations()[annotationBackup],
		Age: w.now.Sub(object.GetCreationTimestamp().Time), Remedy: remedy, clear: clear,
	})
}

func (w *sweeper) claims(ctx context.Context) error {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.PersistentVolumeClaimList, error) {
		return w.kube.Claims(w.staging).List(ctx, byUs)
	})
	if err != nil {
		return fmt.Errorf("list claims in %s: %w", w.staging, err)
	}
	for i := range list.Items {
		if claim := &list.Items[i]; w.old(claim) {
			w.add("PersistentVolumeClaim", claim, "remove it, and its volume unless Velero was given that", func(ctx context.Context) error {
				return w.clearClaim(ctx, claim)
			})
		}
	}
	return nil
}

func (w *sweeper) clearClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if err := w.abandonVolume(ctx, claim.Spec.VolumeName); err != nil {
		return err
	}
	return strikeOne(ctx, w.kube.Claims(claim.Namespace), "claim "+claim.Namespace+"/"+claim.Name, claim)
}

func (w *sweeper) volumes(ctx context.Context) error {
	all, err := w.listVolumes(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if pv := &all[i]; w.old(pv) && w.isStaging(pv) {
			w.volume(pv, sharesVolume(pv, all))
		}
	}
	return nil
}

// volume decides about the PersistentVolume of a staging claim.
func (w *sweeper) volume(pv *corev1.PersistentVolume, shared bool) {
	const kind = "PersistentVolume"
	switch {
	case shared:
		w.add(kind, pv, "remove it; its volume is in use", func(ctx context.Context) error {
			return strikeOne(ctx, w.kube.PersistentVolumes(), kind+" "+pv.Name, pv)
		})
	case isHandedOver(pv):
		w.add(kind, pv, "none: Velero was given its volume, which may be in use elsewhere; set its reclaim policy to Delete to remove both, or delete it to keep the volume", func(context.Context) error {
			return fmt.Errorf("velero was given volume %s of driver %s for PersistentVolume %s, yet no other PersistentVolume has it; it may be in use elsewhere, so decide by hand: set the reclaim policy of this one to Delete to remove the volume, or delete this one to keep the volume",
				pv.Spec.CSI.VolumeHandle, pv.Spec.CSI.Driver, pv.Annotations[annotationHandedOver])
		})
	default:
		w.add(kind, pv, "remove it and its volume", func(ctx context.Context) error {
			return w.abandonVolume(ctx, pv.Name)
		})
	}
}

// isStaging tells whether a PersistentVolume is that of a staging claim.
func (w *sweeper) isStaging(pv *corev1.PersistentVolume) bool {
	ref := pv.Spec.ClaimRef
	return ref != nil && ref.Namespace == w.staging && strings.HasPrefix(ref.Name, restorePrefix) && pv.Spec.CSI != nil
}

// sharesVolume tells whether another PersistentVolume has the same volume.
func sharesVolume(pv *corev1.PersistentVolume, all []corev1.PersistentVolume) bool {
	return slices.ContainsFunc(all, func(other corev1.PersistentVolume) bool {
		return other.UID != pv.UID && hasVolume(&other, pv.Spec.CSI.Driver, pv.Spec.CSI.VolumeHandle)
	})
}

func (w *sweeper) snapshots(ctx context.Context) error {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotList, error) {
		return w.kube.VolumeSnapshots(w.staging).List(ctx, byUs)
	})
	if apierrors.IsNotFound(err) {
		return nil // a cluster without snapshots
	}
	if err != nil {
		return fmt.Errorf("list VolumeSnapshots in %s: %w", w.staging, err)
	}
	for i := range list.Items {
		if vs := &list.Items[i]; w.old(vs) || w.held(vs) {
			w.add("VolumeSnapshot", vs, "remove it; the snapshot stays in the storage", func(ctx context.Context) error {
				return w.clearSnapshot(ctx, vs)
			})
		}
	}
	return nil
}

// held tells whether a mark that csi-provisioner does not take away is all that
// an object has been waiting for to go.
func (w *sweeper) held(vs *snapshotv1.VolumeSnapshot) bool {
	return isMarkedOnly(vs) && w.now.Sub(vs.DeletionTimestamp.Time) > w.age
}

func (w *sweeper) clearSnapshot(ctx context.Context, vs *snapshotv1.VolumeSnapshot) error {
	claim, err := w.getClaim(ctx, vs.Namespace, vs.Name)
	if err != nil {
		return fmt.Errorf("get claim %s/%s: %w", vs.Namespace, vs.Name, err)
	}
	if claim == nil {
		return w.strikeUnused(ctx, vs)
	}
	return strikeOne[*snapshotv1.VolumeSnapshot](ctx, w.kube.VolumeSnapshots(vs.Namespace), describeSnapshot(vs), vs)
}

func (w *sweeper) contents(ctx context.Context) error {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotContentList, error) {
		return w.kube.VolumeSnapshotContents().List(ctx, byUs)
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list VolumeSnapshotContents: %w", err)
	}
	for i := range list.Items {
		if content := &list.Items[i]; w.old(content) {
			w.content(content)
		}
	}
	return nil
}

func (w *sweeper) content(content *snapshotv1.VolumeSnapshotContent) {
	const kind = "VolumeSnapshotContent"
	switch purposeOf(content) {
	case purposeSnapshot:
		w.add(kind, content, "remove it and its snapshot, which no backup has", func(ctx context.Context) error {
			return w.destroy(ctx, content)
		})
	case purposeDelete:
		w.add(kind, content, "finish the deletion of its snapshot", func(ctx context.Context) error {
			return w.DeleteSnapshot(ctx, content.Annotations[annotationVolume])
		})
	case purposeRestore:
		w.add(kind, content, "remove it; the snapshot stays in the storage", func(ctx context.Context) error {
			return strikeOne[*snapshotv1.VolumeSnapshotContent](ctx, w.kube.VolumeSnapshotContents(), describeContent(content.Name), content)
		})
	}
}
