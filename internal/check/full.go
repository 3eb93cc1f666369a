package check

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// fullTimeout bounds each wait of the full check.
const fullTimeout = 5 * time.Minute

// trial is the full check under way: what it has made so far.
type trial struct {
	*volumeSnapshotter
	namespace, name string
	class           *storagev1.StorageClass
	volume          *corev1.PersistentVolume // of the throw-away claim
	copy            *corev1.PersistentVolume // the restored one
	volumes         []string                 // names of what has to be gone in the end
	snapshotID      string
	begun           bool // there may be something to remove
}

// full makes a claim, takes a snapshot of it, restores that as another claim and
// removes it all, by the same calls as Velero.
func (v *volumeSnapshotter) full(ctx context.Context) {
	t := &trial{volumeSnapshotter: v, namespace: v.s.StagingNamespace(), name: "longshore-check-" + strings.ToLower(rand.Text()[:8])}
	defer func() {
		if t.begun {
			v.step(context.WithoutCancel(ctx), "clean up", t.cleanUp)
		}
	}()
	_ = v.step(ctx, "claim", t.claim) &&
		v.step(ctx, "snapshot", t.snapshot) &&
		v.step(ctx, "restore", t.restore)
}

// meta marks an object as one of ours, so that a sweep finds it, and keeps it
// out of backups.
func (t *trial) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"app.kubernetes.io/managed-by":  "longshore",
		"longshore.dev/purpose":         "check",
		"velero.io/exclude-from-backup": "true",
	}}
}

func (t *trial) claim(ctx context.Context) (string, error) {
	claim, err := t.wanted(ctx)
	if err != nil {
		return "", err
	}
	made, err := t.create(ctx, claim)
	if err != nil {
		return "", err
	}
	t.volume, err = t.Kube.PersistentVolumes().Get(ctx, made.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("get PersistentVolume %s: %w", made.Spec.VolumeName, err)
	}
	t.volumes = append(t.volumes, t.volume.Name)
	return fmt.Sprintf("%s/%s of StorageClass %s is bound", t.namespace, t.name, t.class.Name), t.throwAway(ctx)
}

// wanted is the claim, for a node that the driver can serve.
func (t *trial) wanted(ctx context.Context) (*corev1.PersistentVolumeClaim, error) {
	size, err := resource.ParseQuantity(t.proof.Size)
	if err != nil {
		return nil, fail(fmt.Sprintf("--size %q: %v", t.proof.Size, err), "give a size such as 1Gi")
	}
	if t.class, err = t.chosenClass(); err != nil {
		return nil, err
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: t.meta(t.name),
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &t.class.Name,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
		},
	}
	if mode := t.class.VolumeBindingMode; mode != nil && *mode == storagev1.VolumeBindingWaitForFirstConsumer {
		node, err := t.s.NodeFor(ctx, t.class)
		if err != nil {
			return nil, err
		}
		claim.Annotations = map[string]string{"volume.kubernetes.io/selected-node": node}
	}
	return claim, nil
}

func (t *trial) chosenClass() (*storagev1.StorageClass, error) {
	var names []string
	for i := range t.classes {
		class := &t.classes[i]
		names = append(names, class.Name)
		isDefault := class.Annotations["storageclass.kubernetes.io/is-default-class"] == "true"
		if class.Name == t.proof.StorageClass || (t.proof.StorageClass == "" && (isDefault || len(t.classes) == 1)) {
			return class, nil
		}
	}
	return nil, fail(fmt.Sprintf("no StorageClass to try (--storage-class %q); those of the location's drivers are %s", t.proof.StorageClass, strings.Join(names, ", ")),
		"name one of them with --storage-class")
}

// create makes a claim and waits until it is bound.
func (t *trial) create(ctx context.Context, claim *corev1.PersistentVolumeClaim) (*corev1.PersistentVolumeClaim, error) {
	ctx, cancel := context.WithTimeout(ctx, fullTimeout)
	defer cancel()
	t.begun = true
	claims := t.Kube.Claims(t.namespace)
	made, err := kube.Create(ctx, claims, claim)
	if err != nil {
		return nil, fmt.Errorf("create claim %s/%s: %w", t.namespace, claim.Name, err)
	}
	target := kube.Target{Name: claim.Name, Object: "claim " + t.namespace + "/" + claim.Name, Until: "its volume"}
	bound, err := kube.Until(ctx, claims, target, made, func(now *corev1.PersistentVolumeClaim) (bool, string, error) {
		if now == nil {
			return false, "", errors.New(target.Object + " was deleted by someone else")
		}
		return now.Status.Phase == corev1.ClaimBound, "phase " + string(now.Status.Phase), nil
	})
	if err != nil {
		return nil, fail(err.Error(), "see why: kubectl describe pvc; "+t.events(ctx, claim.Name))
	}
	return bound, nil
}

// events tells what the controllers say of a claim.
func (t *trial) events(ctx context.Context, claim string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	raw, err := t.Kube.Raw(ctx, "/api/v1/namespaces/"+t.namespace+"/events", map[string]string{"fieldSelector": "involvedObject.name=" + claim})
	var list corev1.EventList
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil || len(list.Items) == 0 {
		return "no events"
	}
	last := list.Items[len(list.Items)-1]
	return last.Reason + ": " + last.Message
}

// throwAway has the volume go with its claim, whatever its class says.
func (t *trial) throwAway(ctx context.Context) error {
	if t.volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	patch := []byte(`{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	_, err := t.Kube.PersistentVolumes().Patch(ctx, t.volume.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (t *trial) snapshot(ctx context.Context) (string, error) {
	volume, err := json.Marshal(t.volume)
	if err != nil {
		return "", err
	}
	id, err := t.s.GetVolumeID(ctx, volume)
	if err != nil {
		return "", err
	}
	if id == "" {
		return "", fail("the location does not take the volume "+t.volume.Name, "name its driver in drivers, or choose another class with --storage-class")
	}
	t.snapshotID, err = t.s.CreateSnapshot(ctx, id, "", map[string]string{"velero.io/backup": t.name})
	return t.snapshotID, err
}

// restore makes a second volume of the snapshot, and a claim that uses it.
func (t *trial) restore(ctx context.Context) (string, error) {
	id, err := t.s.CreateVolumeFromSnapshot(ctx, t.snapshotID, t.class.Name, "", nil)
	if err != nil {
		return "", err
	}
	if err := t.adopt(ctx, id); err != nil {
		return "", fmt.Errorf("%w; the restored volume %s stays in the storage", err, id)
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: t.meta(t.copy.Spec.ClaimRef.Name),
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: t.copy.Name, StorageClassName: &t.class.Name, VolumeMode: t.copy.Spec.VolumeMode,
			AccessModes: t.copy.Spec.AccessModes,
			Resources:   corev1.VolumeResourceRequirements{Requests: t.copy.Spec.Capacity},
		},
	}
	if _, err := t.create(ctx, claim); err != nil {
		return "", err
	}
	return id, nil
}

// adopt makes a PersistentVolume of the restored volume, as Velero does.
func (t *trial) adopt(ctx context.Context, volumeID string) error {
	wanted := t.volume.DeepCopy()
	wanted.ObjectMeta = t.meta(t.name + "-copy")
	wanted.Annotations = map[string]string{"pv.kubernetes.io/provisioned-by": t.class.Provisioner}
	wanted.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	wanted.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: t.namespace, Name: t.name + "-copy"}
	wanted.Status = corev1.PersistentVolumeStatus{}
	template, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	changed, err := t.s.SetVolumeID(ctx, template, volumeID)
	if err != nil {
		return err
	}
	var pv corev1.PersistentVolume
	if err := json.Unmarshal(changed, &pv); err != nil {
		return err
	}
	// Once more after an interruption: the volume is known to nobody else.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	t.copy, err = kube.Create(ctx, t.Kube.PersistentVolumes(), &pv)
	if t.copy != nil {
		t.volumes = append(t.volumes, pv.Name)
	}
	if err != nil {
		return fmt.Errorf("create PersistentVolume %s: %w", pv.Name, err)
	}
	return nil
}

// cleanUp removes all that the trial made, and waits until it is gone.
func (t *trial) cleanUp(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fullTimeout)
	defer cancel()
	err := errors.Join(t.releaseCopy(ctx), t.deleteClaim(ctx, t.name+"-copy"), t.deleteClaim(ctx, t.name), t.deleteSnapshot(ctx))
	for _, name := range t.volumes {
		err = errors.Join(err, t.waitGone(ctx, name))
	}
	if err != nil {
		return "", fail("something of this check is left: "+err.Error(), "remove what is named "+t.name+"; velero-plugin-longshore sweep finds the claims")
	}
	return "claims, volumes and snapshot are gone", nil
}

// releaseCopy binds the restored volume to a claim that never was where it has
// none: a volume that was never bound would stay.
func (t *trial) releaseCopy(ctx context.Context) error {
	if t.copy == nil {
		return nil
	}
	now, err := t.Kube.PersistentVolumes().Get(ctx, t.copy.Name, metav1.GetOptions{})
	if err != nil || (now.Spec.ClaimRef != nil && now.Spec.ClaimRef.UID != "") {
		return ignoreGone(err)
	}
	patch := fmt.Appendf(nil, `{"spec":{"claimRef":{"uid":%q}}}`, now.UID)
	_, err = t.Kube.PersistentVolumes().Patch(ctx, t.copy.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return ignoreGone(err)
}

func (t *trial) deleteClaim(ctx context.Context, name string) error {
	return ignoreGone(kube.Do(ctx, func(ctx context.Context) error {
		return t.Kube.Claims(t.namespace).Delete(ctx, name, metav1.DeleteOptions{})
	}))
}

func (t *trial) deleteSnapshot(ctx context.Context) error {
	if t.snapshotID == "" {
		return nil
	}
	return t.s.DeleteSnapshot(ctx, t.snapshotID)
}

func (t *trial) waitGone(ctx context.Context, name string) error {
	target := kube.Target{Name: name, Object: "PersistentVolume " + name, Until: "its removal with its volume"}
	_, err := kube.Until(ctx, t.Kube.PersistentVolumes(), target, nil, func(now *corev1.PersistentVolume) (bool, string, error) {
		if now == nil {
			return true, "", nil
		}
		return false, strings.TrimSpace("phase " + string(now.Status.Phase) + " " + now.Status.Message), nil
	})
	return err
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
