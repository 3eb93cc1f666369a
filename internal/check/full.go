package check

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// fullTimeout bounds each wait of the full check.
const fullTimeout = 5 * time.Minute

// trialPrefix begins the names of what the full check makes.
const trialPrefix = "longshore-check-"

// trial is the full check under way: what it has made so far.
type trial struct {
	*volumeSnapshotter
	namespace, name string
	class           *storagev1.StorageClass // the one that is tried
	own             *storagev1.StorageClass // the trial's copy of it
	claims          []*corev1.PersistentVolumeClaim
	volume          *corev1.PersistentVolume // of the first claim
	copy            *corev1.PersistentVolume // the restored one
	volumes         []string                 // names of what has to be gone in the end
	snapshotID      string
	begun           bool // there may be something to remove
}

// full makes a claim, takes a snapshot of it, restores that as another claim and
// removes it all, by the same calls as Velero.
func (v *volumeSnapshotter) full(ctx context.Context) {
	t := &trial{volumeSnapshotter: v, namespace: v.s.Settings().StagingNamespace, name: trialPrefix + strings.ToLower(rand.Text()[:8])}
	defer func() {
		if t.begun {
			v.Step(context.WithoutCancel(ctx), "clean up", t.cleanUp)
		}
	}()
	_ = v.Step(ctx, "claim", t.claim) &&
		v.Step(ctx, "snapshot", t.snapshot) &&
		v.Step(ctx, "restore", t.restore)
}

// meta marks an object as one of ours, for whoever looks for what a check that was
// killed has left, and keeps it out of backups.
func (t *trial) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"app.kubernetes.io/managed-by":  "longshore",
		"longshore.dev/purpose":         "check",
		"velero.io/exclude-from-backup": "true",
	}}
}

// claim makes a claim of a StorageClass of the trial's own, so that it can be
// bound to no volume that was there before.
func (t *trial) claim(ctx context.Context) (string, error) {
	size, err := resource.ParseQuantity(t.proof.Size)
	if err != nil {
		return "", Fail(fmt.Sprintf("--size %q: %v", t.proof.Size, err), "give a size such as 1Gi")
	}
	if t.class, err = t.chosenClass(); err != nil {
		return "", err
	}
	t.begun = true
	ctx, cancel := context.WithTimeout(ctx, fullTimeout)
	defer cancel()
	own := t.class.DeepCopy()
	own.ObjectMeta = t.meta(t.name)
	own.ReclaimPolicy, own.VolumeBindingMode = ptr.To(corev1.PersistentVolumeReclaimDelete), ptr.To(storagev1.VolumeBindingImmediate)
	if t.own, err = t.Kube.StorageClasses.Create(ctx, own); err != nil {
		return "", err
	}
	made, err := t.create(ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: t.meta(t.name),
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &t.own.Name,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
		},
	})
	if err != nil {
		return "", err
	}
	volume, err := t.Kube.PersistentVolumes.Get(ctx, made.Spec.VolumeName)
	if err != nil {
		return "", err
	}
	if err := snapshotter.Provisioned(volume, made, t.class.Provisioner); err != nil {
		return "", err
	}
	t.volume, t.volumes = volume, append(t.volumes, volume.Name)
	return fmt.Sprintf("%s/%s of a copy of StorageClass %s is bound", t.namespace, t.name, t.class.Name), nil
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
	return nil, Fail(fmt.Sprintf("no StorageClass to try (--storage-class %q); those of the location's drivers are %s", t.proof.StorageClass, strings.Join(names, ", ")),
		"name one of them with --storage-class")
}

// create makes a claim and waits until it is bound.
func (t *trial) create(ctx context.Context, claim *corev1.PersistentVolumeClaim) (*corev1.PersistentVolumeClaim, error) {
	ctx, cancel := context.WithTimeout(ctx, fullTimeout)
	defer cancel()
	claims := t.Kube.Claims.In(t.namespace)
	made, err := claims.Create(ctx, claim)
	if made != nil {
		t.claims = append(t.claims, made)
	}
	if err != nil {
		return nil, err
	}
	target := kube.Target{Name: claim.Name, Object: claims.Describe(claim.Name), Until: "its volume"}
	bound, err := claims.Until(ctx, target, made, func(now *corev1.PersistentVolumeClaim) (bool, string, error) {
		if now == nil {
			return false, "", errors.New(target.Object + " was deleted by someone else")
		}
		return now.Status.Phase == corev1.ClaimBound, "phase " + string(now.Status.Phase), nil
	})
	if err != nil {
		return nil, Fail(err.Error(), "see why: kubectl describe pvc; "+t.events(ctx, claim.Name))
	}
	return bound, nil
}

// events tells what the controllers say of a claim.
func (t *trial) events(ctx context.Context, claim string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	raw, err := t.Kube.Raw(ctx, "/api/v1/namespaces/"+t.namespace+"/events", map[string]string{"fieldSelector": "involvedObject.name=" + claim}, nil)
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
		return "", Fail("the location does not take the volume "+t.volume.Name, "name its driver in drivers, or choose another class with --storage-class")
	}
	t.snapshotID, err = t.s.CreateSnapshot(ctx, id, "", map[string]string{"velero.io/backup": t.name})
	return cut(t.snapshotID, 100), err
}

// restore makes a second volume of the snapshot, and a claim that uses it.
func (t *trial) restore(ctx context.Context) (string, error) {
	id, err := t.s.CreateVolumeFromSnapshot(ctx, t.snapshotID, t.class.Name, "", nil)
	if err != nil {
		return "", err
	}
	if err := t.takeOver(ctx, id); err != nil {
		return "", err
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: t.meta(t.copy.Spec.ClaimRef.Name),
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: t.copy.Name, StorageClassName: &t.own.Name, VolumeMode: t.copy.Spec.VolumeMode,
			AccessModes: t.copy.Spec.AccessModes,
			Resources:   corev1.VolumeResourceRequirements{Requests: t.copy.Spec.Capacity},
		},
	}
	if _, err := t.create(ctx, claim); err != nil {
		return "", err
	}
	return id, nil
}

// takeOver goes on after an interruption: the volume is known to nobody else. One that
// cannot be taken over is removed.
func (t *trial) takeOver(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fullTimeout)
	defer cancel()
	err := t.adopt(ctx, id)
	if err == nil {
		return nil
	}
	if left := t.s.DiscardVolume(ctx, id); left != nil {
		return Fail(fmt.Sprintf("%v; the restored volume %s may stay in the storage: %v", err, id, left), "velero-plugin-longshore sweep removes it when the time of the restore is over")
	}
	return err
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
	t.copy, err = t.Kube.PersistentVolumes.Create(ctx, &pv)
	if t.copy != nil {
		t.volumes = append(t.volumes, pv.Name)
	}
	return err
}

// cleanUp removes all that the trial made, and waits until it is gone. It looks for all
// by the names: where the answer to a creation was lost, they are all that is known.
func (t *trial) cleanUp(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fullTimeout)
	defer cancel()
	err := t.releaseCopy(ctx)
	err = errors.Join(err, t.removeClaims(ctx), t.deleteSnapshot(ctx))
	for _, name := range t.volumes {
		err = errors.Join(err, t.waitGone(ctx, name))
	}
	if t.own != nil {
		_, failed := remove(ctx, t.Kube.StorageClasses, t.own.Name)
		err = errors.Join(err, failed)
	}
	if err != nil {
		return "", Fail("something of this check is left: "+err.Error(), "remove what is named "+t.name)
	}
	return "claims, volumes, StorageClass and snapshot are gone", nil
}

// remove deletes the object of a name that is random, so that no other has it. It
// returns what was deleted, nil if there was nothing.
func remove[T kube.Object](ctx context.Context, r kube.Resource[T], name string) (T, error) {
	found, err := r.Find(ctx, name)
	if kube.Missing(found) || err != nil {
		return found, err
	}
	return r.Delete(ctx, found, nil)
}

// removeClaims deletes the claims. A volume that one got after an interruption has to
// be gone in the end, too.
func (t *trial) removeClaims(ctx context.Context) (err error) {
	for _, claim := range t.claims {
		removed, failed := remove(ctx, t.Kube.Claims.In(t.namespace), claim.Name)
		if removed != nil && removed.Spec.VolumeName != "" && !slices.Contains(t.volumes, removed.Spec.VolumeName) {
			t.volumes = append(t.volumes, removed.Spec.VolumeName)
		}
		err = errors.Join(err, failed)
	}
	return err
}

// releaseCopy binds the restored volume to a claim that never was where it has
// none: a volume that was never bound would stay.
func (t *trial) releaseCopy(ctx context.Context) error {
	if t.copy == nil {
		return nil
	}
	found, err := t.Kube.PersistentVolumes.Find(ctx, t.copy.Name)
	if found == nil || err != nil {
		return err
	}
	_, err = t.Kube.PersistentVolumes.Edit(ctx, found, func(now *corev1.PersistentVolume) (kube.Patch, error) {
		if now.Spec.ClaimRef != nil && now.Spec.ClaimRef.UID != "" {
			return nil, nil
		}
		return kube.Patch{"spec": map[string]any{"claimRef": map[string]any{"uid": now.UID}}}, nil
	})
	return ignoreGone(err)
}

func (t *trial) deleteSnapshot(ctx context.Context) error {
	if t.snapshotID == "" {
		return nil
	}
	return t.s.DeleteSnapshot(ctx, t.snapshotID)
}

func (t *trial) waitGone(ctx context.Context, name string) error {
	client := t.Kube.PersistentVolumes
	target := kube.Target{Name: name, Object: client.Describe(name), Until: "its removal with its volume"}
	_, err := client.Until(ctx, target, nil, func(now *corev1.PersistentVolume) (bool, string, error) {
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
