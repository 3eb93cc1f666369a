package drill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// What provisioners and the controller that binds claims write on PersistentVolumes
// (https://kubernetes.io/docs/reference/labels-annotations-taints/).
const (
	annotationProvisionedBy     = "pv.kubernetes.io/provisioned-by"
	annotationBoundByController = "pv.kubernetes.io/bound-by-controller"
	labelRestore                = "velero.io/restore-name" // Velero's, on all that it restores
)

// annotationOriginals has, on the Lease of a drill, the volumes of the storage that the
// backup is of, as stored names them, separated by commas.
const annotationOriginals = "longshore.dev/original-volumes"

// stored names a volume of the storage in few letters.
func stored(csi *corev1.CSIPersistentVolumeSource) string {
	sum := sha256.Sum256([]byte(csi.Driver + "/" + csi.VolumeHandle))
	return hex.EncodeToString(sum[:8])
}

// others are the volumes that are not the drill's to remove.
type others struct {
	all       []*corev1.PersistentVolume // of the cluster, the drill's too
	originals []string                   // as stored names them; these may be in no cluster
}

// original tells whether a volume is one that the backup is of.
func (o others) original(pv *corev1.PersistentVolume) bool {
	return pv.Spec.CSI != nil && slices.Contains(o.originals, stored(pv.Spec.CSI))
}

// requireCopies fails if Velero gave a claim of the drill the volume that the backup is of.
func (d *drill) requireCopies(ctx context.Context) error {
	volumes, not, err := d.volumesOf(ctx, d.report.Drill)
	for _, pv := range volumes {
		if not.original(pv) {
			return check.Fail(fmt.Sprintf("Velero gave claim %s/%s the volume that the backup is of, and not a copy: PersistentVolume %s", pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name, pv.Name),
				"look into the Restore's log; the drill leaves the volume alone: "+keep)
		}
	}
	return err
}

// made returns nil if a volume whose claimRef is in a scratch namespace was made for
// that: by the drill's Restore, or by a provisioner for exactly this claim. Any other
// may be somebody's only copy. Kubernetes binds a claim also to an Available volume of
// its class (https://github.com/kubernetes/kubernetes/issues/101878), and Velero restores
// a volume as it was where it does not find its snapshot. claim is nil where it is gone
// already.
func made(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim, restore string, not others) error {
	switch ref := pv.Spec.ClaimRef; {
	case not.original(pv):
		return errors.New("it is the volume that the backup is of, and not a copy")
	case pv.Labels[labelRestore] == restore && ref.UID == "": // not bound yet
	case claim == nil && pv.Status.Phase != corev1.VolumeReleased:
		return errors.New("its claim is not there")
	case claim != nil && ref.UID != claim.UID:
		return errors.New("it belongs to another claim of this name")
	case pv.Labels[labelRestore] == restore:
	case pv.Annotations[annotationProvisionedBy] == "":
		return errors.New("neither the drill's Restore nor a provisioner made it")
	case pv.Annotations[annotationBoundByController] != "", claim != nil && pv.CreationTimestamp.Unix() < claim.CreationTimestamp.Unix():
		return errors.New("it was there before its claim was bound to it")
	}
	for _, other := range not.all {
		if other.Name != pv.Name && sameStorage(pv, other) {
			return fmt.Errorf("PersistentVolume %s is the same volume of the storage", other.Name)
		}
	}
	return nil
}

func sameStorage(a, b *corev1.PersistentVolume) bool {
	return a.Spec.CSI != nil && b.Spec.CSI != nil && a.Spec.CSI.Driver == b.Spec.CSI.Driver && a.Spec.CSI.VolumeHandle == b.Spec.CSI.VolumeHandle
}

// volumesOf are the volumes whose claimRef is in a namespace of the drill, which may be
// gone, and others that they must not be.
func (c *Cluster) volumesOf(ctx context.Context, id string) (theirs []*corev1.PersistentVolume, not others, err error) {
	leases, err := c.list(ctx, c.leases, id)
	if err != nil {
		return nil, others{}, err
	}
	for _, lease := range leases {
		not.originals = append(not.originals, strings.Split(lease.GetAnnotations()[annotationOriginals], ",")...)
	}
	not.all, err = c.Kube.PersistentVolumes.List(ctx, "")
	for _, pv := range not.all {
		if ref := pv.Spec.ClaimRef; ref != nil && isScratch(id, ref.Namespace) {
			theirs = append(theirs, pv)
		}
	}
	return theirs, not, err
}

// freeVolumes has the volumes of the claims in the drill's namespaces go with their
// claims, whatever their class says, and counts them. It changes none before it has
// the proof for each: an error leaves all as they are.
func (c *Cluster) freeVolumes(ctx context.Context, id string) (int, error) {
	volumes, not, err := c.volumesOf(ctx, id)
	if err != nil {
		return 0, err
	}
	ours := map[*corev1.PersistentVolume]types.UID{} // of their claims
	var doubts []error
	for _, pv := range volumes {
		ref := pv.Spec.ClaimRef
		claim, err := c.Kube.Claims.In(ref.Namespace).Find(ctx, ref.Name)
		switch {
		case err != nil:
			return 0, err
		case claim == nil: // for volumesGone
			continue
		}
		ours[pv] = claim.UID
		if err := made(pv, claim, holderName(id), not); err != nil {
			doubts = append(doubts, fmt.Errorf("PersistentVolume %s of claim %s/%s is left alone, and with it the claim: %w; %s", pv.Name, ref.Namespace, ref.Name, err, keep))
		}
	}
	if len(doubts) > 0 {
		return 0, errors.Join(doubts...)
	}
	for pv, claim := range ours {
		if err := c.deleteWithClaim(ctx, pv, claim); err != nil {
			return 0, err
		}
	}
	return len(ours), nil
}

// keep says what a person can do with a volume that is not the drill's.
const keep = "if its data matter, set its persistentVolumeReclaimPolicy to Retain before the claim goes; without its claimRef it is no longer of the drill"

// volumesGone waits until no volume is left of claims that are gone. A provisioner may
// have made one after its claim was deleted, with the policy of its class. One that is
// Released and not the drill's never goes.
func (c *Cluster) volumesGone(ctx context.Context, id string) error {
	return poll(ctx, "the volumes to go from the cluster and from the storage", func(ctx context.Context) (bool, string, error) {
		volumes, not, err := c.volumesOf(ctx, id)
		var left []string
		var doubts []error
		for _, pv := range volumes {
			text := fmt.Sprintf("PersistentVolume %s is %s", pv.Name, pv.Status.Phase)
			if doubt := made(pv, nil, holderName(id), not); doubt == nil {
				if err := c.deleteWithClaim(ctx, pv, pv.UID); err != nil {
					return false, "", err
				}
			} else if text += ": " + doubt.Error(); pv.Status.Phase == corev1.VolumeReleased {
				doubts = append(doubts, fmt.Errorf("%s; it is left alone; %s", text, keep))
			}
			left = append(left, text)
		}
		return len(left) == 0, few(left), errors.Join(append(doubts, err)...)
	})
}

// deleteWithClaim has a volume go when its claim goes. One that was not bound yet gets
// the UID of the claim, since the controller releases only what was bound; any UID will
// do where no claim is there.
func (c *Cluster) deleteWithClaim(ctx context.Context, pv *corev1.PersistentVolume, claim types.UID) error {
	_, err := c.Kube.PersistentVolumes.Edit(ctx, pv, func(now *corev1.PersistentVolume) (kube.Patch, error) {
		spec := map[string]any{}
		if now.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			spec["persistentVolumeReclaimPolicy"] = corev1.PersistentVolumeReclaimDelete
		}
		if now.Spec.ClaimRef != nil && now.Spec.ClaimRef.UID == "" {
			spec["claimRef"] = map[string]any{"uid": claim}
		}
		if len(spec) == 0 {
			return nil, nil
		}
		return kube.Patch{"spec": spec}, nil
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
