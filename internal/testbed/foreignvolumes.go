package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	foreignSize = "100Gi"
	foreignData = "somebody else's data"
	// otherDriver is a CSI driver that the cluster does not have.
	otherDriver = "nfs.csi.k8s.io"
	// liveClaim is the claim of the application in ForeignNamespace.
	liveClaim = "live"
)

// foreignVolume is a volume of the cluster's driver that was once a claim's.
type foreignVolume struct {
	claim ClaimOptions
	// available volumes have no claimRef, the others are Released.
	available bool
	policy    corev1.PersistentVolumeReclaimPolicy
}

func (f *Foreign) foreignVolumes() []foreignVolume {
	const keep, remove = corev1.PersistentVolumeReclaimRetain, corev1.PersistentVolumeReclaimDelete
	class := f.options.Classes[0]
	all := []foreignVolume{
		{ClaimOptions{Name: "released", Class: class}, false, keep},
		{ClaimOptions{Name: "available-delete", Class: class}, true, remove},
		{ClaimOptions{Name: "available-block", Class: class, Block: true}, true, keep},
	}
	for i, class := range f.options.Classes {
		all = append(all, foreignVolume{ClaimOptions{Name: fmt.Sprintf("available-%d", i), Class: class}, true, keep})
	}
	return all
}

// addVolumes makes the volumes of the cluster's driver: all are bound before any
// is set free.
func (f *Foreign) addVolumes(ctx context.Context) error {
	if err := f.cluster.CreateNamespace(ctx, ForeignNamespace); err != nil {
		return err
	}
	all := f.foreignVolumes()
	names := make([]string, len(all))
	makeVolume := func(o ClaimOptions, name *string) func() error {
		return func() (err error) { *name, err = f.addVolume(ctx, o); return err }
	}
	var live string
	steps := []func() error{makeVolume(ClaimOptions{Namespace: ForeignNamespace, Name: liveClaim, Class: f.options.Classes[0], Size: "1Gi"}, &live)}
	for i := range all {
		all[i].claim.Namespace, all[i].claim.Size = ForeignNamespace, foreignSize
		steps = append(steps, makeVolume(all[i].claim, &names[i]))
	}
	if err := together(steps...); err != nil {
		return err
	}
	f.track(claims, ForeignNamespace, liveClaim)
	f.track(volumes, "", live)
	for i, v := range all {
		if err := f.setFree(ctx, v, names[i]); err != nil {
			return err
		}
		f.track(volumes, "", names[i])
	}
	return nil
}

// addVolume makes a claim with a file and returns the name of its volume.
func (f *Foreign) addVolume(ctx context.Context, o ClaimOptions) (string, error) {
	claim, err := f.cluster.createClaim(ctx, o)
	if err != nil {
		return "", err
	}
	handle, err := f.cluster.Handle(ctx, o.Namespace, o.Name)
	if err != nil {
		return "", err
	}
	folder := f.cluster.volumeFolder(handle)
	file := filepath.Join(folder, "data", "file")
	if o.Block {
		file = filepath.Join(folder, "data.img")
	}
	if err := writeAt(file, foreignData); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.folders = append(f.folders, folder)
	return claim.Spec.VolumeName, nil
}

// writeAt writes the beginning of a file, and leaves its size if it is larger.
func writeAt(file, text string) error {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.WriteString(text)
	return errors.Join(err, out.Close())
}

// setFree takes the claim away from a volume, and its memory of the claim. A volume
// is given another reclaim policy only once it is Available: csi-provisioner deletes
// the data of one that it sees Released with Delete.
func (f *Foreign) setFree(ctx context.Context, v foreignVolume, name string) error {
	if err := f.setPolicy(ctx, name, corev1.PersistentVolumeReclaimRetain); err != nil {
		return err
	}
	err := f.cluster.Kube.CoreV1().PersistentVolumeClaims(v.claim.Namespace).Delete(ctx, v.claim.Name, metav1.DeleteOptions{})
	if err != nil {
		return err
	}
	if err := f.waitPhase(ctx, name, corev1.VolumeReleased); err != nil || !v.available {
		return err
	}
	if err := f.patchVolume(ctx, name, `{"spec":{"claimRef":null}}`); err != nil {
		return err
	}
	if err := f.waitPhase(ctx, name, corev1.VolumeAvailable); err != nil {
		return err
	}
	return f.setPolicy(ctx, name, v.policy)
}

func (f *Foreign) setPolicy(ctx context.Context, name string, policy corev1.PersistentVolumeReclaimPolicy) error {
	return f.patchVolume(ctx, name, fmt.Sprintf(`{"spec":{"persistentVolumeReclaimPolicy":%q}}`, policy))
}

func (f *Foreign) patchVolume(ctx context.Context, name, patch string) error {
	_, err := f.cluster.Kube.CoreV1().PersistentVolumes().Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (f *Foreign) waitPhase(ctx context.Context, name string, phase corev1.PersistentVolumePhase) error {
	what := fmt.Sprintf("volume %s to be %s", name, phase)
	return Poll(ctx, time.Minute, what, func(ctx context.Context) (bool, string, error) {
		pv, err := f.cluster.Kube.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		return pv.Status.Phase == phase, string(pv.Status.Phase), nil
	})
}

// addStaticVolumes makes volumes of other kinds, Available in the first class.
func (f *Foreign) addStaticVolumes(ctx context.Context) error {
	folder, err := f.cluster.bed.folder(f.cluster.Name, "foreign-hostpath")
	if err != nil {
		return err
	}
	if err := writeAt(filepath.Join(folder, "file"), foreignData); err != nil {
		return err
	}
	f.folders = append(f.folders, folder)
	sources := map[string]corev1.PersistentVolumeSource{
		"foreign-csi":      {CSI: &corev1.CSIPersistentVolumeSource{Driver: otherDriver, VolumeHandle: "server#share"}},
		"foreign-hostpath": {HostPath: &corev1.HostPathVolumeSource{Path: folder}},
		"foreign-nfs":      {NFS: &corev1.NFSVolumeSource{Server: "127.0.0.1", Path: "/export"}},
	}
	for name, source := range sources {
		if err := f.addStaticVolume(ctx, name, source); err != nil {
			return err
		}
	}
	return nil
}

func (f *Foreign) addStaticVolume(ctx context.Context, name string, source corev1.PersistentVolumeSource) error {
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource: source, StorageClassName: f.options.Classes[0],
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(foreignSize)},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadWriteMany},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		},
	}
	if _, err := f.cluster.Kube.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{}); err != nil {
		return err
	}
	f.track(volumes, "", name)
	return f.waitPhase(ctx, name, corev1.VolumeAvailable)
}

// Available are the names of the Available volumes, which a claim must not get.
func (f *Foreign) Available(ctx context.Context) ([]string, error) {
	var names []string
	for _, o := range f.objects {
		if o.kind != volumes {
			continue
		}
		pv, err := f.cluster.Kube.CoreV1().PersistentVolumes().Get(ctx, o.name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if pv.Status.Phase == corev1.VolumeAvailable {
			names = append(names, o.name)
		}
	}
	return names, nil
}

// reserve gives the Available volumes to a claim that does not exist, or frees them.
func (f *Foreign) reserve(ctx context.Context, yes bool) error {
	names, err := f.Available(ctx)
	if err != nil {
		return err
	}
	patch := `{"spec":{"claimRef":null}}`
	if yes {
		patch = `{"spec":{"claimRef":{"namespace":"` + ForeignNamespace + `","name":"reserved"}}}`
	}
	for _, name := range names {
		if err := f.patchVolume(ctx, name, patch); err != nil {
			return err
		}
	}
	return nil
}
