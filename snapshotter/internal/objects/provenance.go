package objects

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// Annotations of PersistentVolumes. A provisioner writes the first on each that
// it makes; the controller that binds claims writes the second on one whose
// claimRef it filled in itself, which a provisioner has done already on its own
// (https://kubernetes.io/docs/reference/labels-annotations-taints/).
const (
	AnnotationProvisionedBy     = "pv.kubernetes.io/provisioned-by"
	AnnotationBoundByController = "pv.kubernetes.io/bound-by-controller"
)

// Claim is what is known of a claim that a volume was to be made for.
type Claim struct {
	Namespace, Name string
	UID             types.UID
	Created         time.Time
	Class, Driver   string // the StorageClass it names, and that class's provisioner
}

// ClaimOf returns that of a claim whose StorageClass has the given provisioner.
func ClaimOf(claim *corev1.PersistentVolumeClaim, driver string) Claim {
	return Claim{
		Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, Created: claim.CreationTimestamp.Time,
		Class: ptr.Deref(claim.Spec.StorageClassName, ""), Driver: driver,
	}
}

// Provisioned returns nil if the PersistentVolume was made by the driver's
// provisioner for exactly this claim, else an error that names it and says what
// speaks against that. A volume without this proof is another's: Kubernetes binds
// a claim also to any Available PersistentVolume of its class
// (https://github.com/kubernetes/kubernetes/issues/101878).
func (c Claim) Provisioned(pv *corev1.PersistentVolume) error {
	if err := c.doubt(pv); err != nil {
		return fmt.Errorf("PersistentVolume %s is not one that driver %s made for claim %s/%s, and is left alone: %w", pv.Name, c.Driver, c.Namespace, c.Name, err)
	}
	return nil
}

func (c Claim) doubt(pv *corev1.PersistentVolume) error {
	ref := pv.Spec.ClaimRef
	switch {
	case c.UID == "":
		return errors.New("the claim's UID is not known")
	case pv.Spec.CSI == nil:
		return errors.New("it is no CSI volume")
	case pv.Spec.CSI.Driver != c.Driver:
		return fmt.Errorf("its driver is %q", pv.Spec.CSI.Driver)
	case ref == nil:
		return errors.New("no claim is bound to it")
	case ref.Namespace != c.Namespace || ref.Name != c.Name || ref.UID != c.UID:
		return fmt.Errorf("it belongs to claim %s/%s with UID %s, not %s", ref.Namespace, ref.Name, ref.UID, c.UID)
	case pv.Annotations[AnnotationProvisionedBy] != c.Driver:
		return fmt.Errorf("its annotation %s is %q", AnnotationProvisionedBy, pv.Annotations[AnnotationProvisionedBy])
	case pv.Annotations[AnnotationBoundByController] != "":
		return fmt.Errorf("it has the annotation %s: it was there before the claim was bound to it", AnnotationBoundByController)
	case pv.Spec.StorageClassName != c.Class:
		return fmt.Errorf("its StorageClass is %q, not %q", pv.Spec.StorageClassName, c.Class)
	case pv.CreationTimestamp.Unix() < c.Created.Unix():
		return fmt.Errorf("it was made at %s, before the claim", FormatTime(pv.CreationTimestamp.Time))
	}
	return nil
}
