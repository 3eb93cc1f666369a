package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// provisionerIdentity is the volume attribute that csi-provisioner adds to what it
// has made.
const provisionerIdentity = "storage.kubernetes.io/csiProvisionerIdentity"

// forgotten is the folder of volumes that the driver no longer knows.
const forgotten = "forgotten"

// VolumeWatcher is what a driver does that watches PersistentVolumes.
type VolumeWatcher struct {
	// DeleteReleased deletes a volume when its PersistentVolume is deleted that is
	// Released and has the policy Retain.
	DeleteReleased bool
	// CollectUnclaimed deletes, twice a second, volumes named pvc-UID for which there
	// is neither a PersistentVolume of that name nor a claim of that UID.
	CollectUnclaimed bool
	// ForgetRetained forgets a volume when a PersistentVolume of it with the policy
	// Retain is deleted: to the driver it is then not there. A later PersistentVolume
	// of it makes it known again, but not if it has the attribute by which
	// csi-provisioner's are told.
	ForgetRetained bool
}

// The drivers that are known to watch.
var (
	// LikeMayastor is OpenEBS Mayastor's control plane.
	LikeMayastor = VolumeWatcher{DeleteReleased: true, CollectUnclaimed: true}
	// LikeVSphere is the syncer of the vSphere CSI driver.
	LikeVSphere = VolumeWatcher{ForgetRetained: true}
)

// WatchVolumes has a driver's watcher act on the cluster's driver's volumes until
// stop, which returns what it did, one line each.
func (c *Cluster) WatchVolumes(ctx context.Context, w VolumeWatcher) (stop func() (deeds []string, err error), err error) {
	ctx, cancel := context.WithCancel(ctx)
	run := &volumeWatch{VolumeWatcher: w, cluster: c}
	factory := informers.NewSharedInformerFactory(c.Kube, 0)
	informer := factory.Core().V1().PersistentVolumes().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    run.seen,
		UpdateFunc: func(_, now any) { run.seen(now) },
		DeleteFunc: run.gone,
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch volumes: %w", err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		cancel()
		return nil, fmt.Errorf("watch volumes: %w", ctx.Err())
	}
	var collecting sync.WaitGroup
	if w.CollectUnclaimed {
		collecting.Go(func() { run.collectUntil(ctx) })
	}
	return func() ([]string, error) {
		cancel()
		collecting.Wait()
		factory.Shutdown()
		run.mu.Lock()
		defer run.mu.Unlock()
		return run.deeds, errors.Join(run.errs...)
	}, nil
}

type volumeWatch struct {
	VolumeWatcher
	cluster *Cluster

	mu    sync.Mutex
	deeds []string
	errs  []error
}

func (w *volumeWatch) seen(object any) {
	pv, ok := object.(*corev1.PersistentVolume)
	if !ok || !w.ours(pv) || pv.DeletionTimestamp != nil {
		return
	}
	_, made := pv.Spec.CSI.VolumeAttributes[provisionerIdentity]
	if w.ForgetRetained && !made {
		w.move(forgotten, "volumes", pv, "registered")
	}
}

func (w *volumeWatch) gone(object any) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	pv, ok := object.(*corev1.PersistentVolume)
	if !ok || !w.ours(pv) || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		return
	}
	if w.DeleteReleased && pv.Status.Phase == corev1.VolumeReleased {
		w.did(fmt.Sprintf("deleted the volume of PersistentVolume %s", pv.Name), os.RemoveAll(w.cluster.volumeFolder(pv.Spec.CSI.VolumeHandle)))
	}
	if w.ForgetRetained {
		w.move("volumes", forgotten, pv, "forgot")
	}
}

func (w *volumeWatch) ours(pv *corev1.PersistentVolume) bool {
	return pv.Spec.CSI != nil && pv.Spec.CSI.Driver == DriverName
}

// move takes a volume from one folder of the storage to another, if it is there.
func (w *volumeWatch) move(from, to string, pv *corev1.PersistentVolume, verb string) {
	name := folderOf(pv.Spec.CSI.VolumeHandle)
	for _, storage := range w.cluster.storages() {
		err := os.MkdirAll(filepath.Join(storage, to), 0o755)
		if err == nil {
			err = os.Rename(filepath.Join(storage, from, name), filepath.Join(storage, to, name))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		w.did(fmt.Sprintf("%s the volume of PersistentVolume %s", verb, pv.Name), err)
	}
}

func (w *volumeWatch) did(deed string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deeds = append(w.deeds, deed)
	if err != nil {
		w.errs = append(w.errs, fmt.Errorf("%s: %w", deed, err))
	}
}

func (w *volumeWatch) collectUntil(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.collect(ctx); err != nil && ctx.Err() == nil {
			w.did("collect volumes without a claim", err)
		}
	}
}

// collect lists the volumes first: one that is made later has a claim.
func (w *volumeWatch) collect(ctx context.Context) error {
	volumes, err := w.cluster.storedVolumes()
	if err != nil {
		return err
	}
	wanted := sets.New[string]()
	claims, err := w.cluster.Kube.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, claim := range claims.Items {
		wanted.Insert("pvc-" + string(claim.UID))
	}
	pvs, err := w.cluster.Kube.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, pv := range pvs.Items {
		wanted.Insert(pv.Name)
	}
	for _, v := range volumes {
		if strings.HasPrefix(v.Name, "pvc-") && !wanted.Has(v.Name) {
			w.did("collected volume "+v.Name, os.RemoveAll(w.cluster.volumeFolder(v.ID)))
		}
	}
	return nil
}
