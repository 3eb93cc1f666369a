package snapshotter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// annotationSelectedNode tells the provisioner for which node a volume is. The
// provisioner heeds it whatever the binding mode, and takes it away again when
// the volume cannot be made for that node.
const annotationSelectedNode = "volume.kubernetes.io/selected-node"

// annotationsProvisioner tell csi-provisioner that a claim is for it, in the form
// of today and that of before. The controller that binds claims would add them a
// moment later, and a change of the claim meanwhile is best avoided (see condemn).
var annotationsProvisioner = []string{
	"volume.kubernetes.io/storage-provisioner",
	"volume.beta.kubernetes.io/storage-provisioner",
}

// provision has the driver make the volume, and keeps it.
func (s *stage) provision(ctx context.Context) error {
	var err error
	s.claim, err = kube.Create(ctx, s.kube.Claims(s.staging), s.stagingClaim())
	if err != nil {
		return fmt.Errorf("create staging claim %s/%s: %w", s.staging, s.name, err)
	}
	stop := s.condemn(ctx)
	volume, err := s.waitVolume(ctx)
	stop()
	if err != nil {
		return err
	}
	return s.keepVolume(ctx, volume)
}

func (s *stage) stagingClaim() *corev1.PersistentVolumeClaim {
	group := "snapshot.storage.k8s.io"
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: s.meta(s.staging),
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &s.class.Name,
			VolumeMode:       &s.id.Mode,
			AccessModes:      s.id.AccessModes,
			DataSource:       &corev1.TypedLocalObjectReference{APIGroup: &group, Kind: "VolumeSnapshot", Name: s.name},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: s.claimSize()},
			},
		},
	}
	for _, annotation := range annotationsProvisioner {
		claim.Annotations[annotation] = s.class.Provisioner
	}
	if node := s.nextNode(); node != "" {
		claim.Annotations[annotationSelectedNode] = node
	}
	return claim
}

// nextNode takes the best of the nodes that are left to try.
func (s *stage) nextNode() string {
	if len(s.nodes) == 0 {
		return ""
	}
	node := s.nodes[0]
	s.nodes = s.nodes[1:]
	return node
}

// waitVolume waits for the claim's PersistentVolume and returns its name. The
// volume is made when csi-provisioner has made that object; binding it to the
// claim is of no use here, and the controller in charge of that misses one now
// and then, to find it at its next round, up to 15 seconds later. So the object
// is also looked for by the name that csi-provisioner gives it by default.
func (s *stage) waitVolume(ctx context.Context) (string, error) {
	ctx, patience, stop := newPatience(ctx, s.settings.ErrorGracePeriod, s.log)
	defer stop()
	events := listen(ctx, patience, s.trouble)
	defer events.stop()
	found := make(chan outcome, 2)
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		if name, err := s.waitPV(ctx); err == nil {
			found <- outcome{name, nil}
		}
	})
	both.Go(func() {
		claim, err := s.waitBound(ctx, events)
		if err != nil {
			found <- outcome{"", err}
			return
		}
		found <- outcome{claim.Spec.VolumeName, nil}
	})
	first := <-found
	stop()
	return first.volume, first.err
}

// trouble tells why there is no volume yet, "" if nobody says so.
func (s *stage) trouble(ctx context.Context) string {
	classes, err := s.listStorageClasses(ctx)
	if err == nil && !slices.ContainsFunc(classes, func(c storagev1.StorageClass) bool { return c.Name == s.class.Name }) {
		return fmt.Sprintf("StorageClass %s %s", s.class.Name, storageClassGone)
	}
	return s.lastWarning(ctx, s.claim)
}

// outcome is how a wait for a volume ended.
type outcome struct {
	volume string
	err    error
}

func (s *stage) waitPV(ctx context.Context) (string, error) {
	name := "pvc-" + string(s.claim.UID)
	target := kube.Target{Name: name, Object: "PersistentVolume " + name, Until: "csi-provisioner to make it"}
	_, err := kube.Until(ctx, s.kube.PersistentVolumes(), target, nil, func(now *corev1.PersistentVolume) (bool, string, error) {
		return now != nil && now.Spec.ClaimRef != nil && now.Spec.ClaimRef.UID == s.claim.UID, "", nil
	})
	return name, err
}

func (s *stage) waitBound(ctx context.Context, events *listener) (*corev1.PersistentVolumeClaim, error) {
	what := fmt.Sprintf("staging claim %s/%s", s.staging, s.name)
	target := kube.Target{Name: s.name, Object: what, Until: "driver " + s.id.Driver + " and its csi-provisioner to make the volume"}
	asked := s.claim.Annotations[annotationSelectedNode]
	return kube.Until(ctx, s.kube.Claims(s.staging), target, s.claim, func(now *corev1.PersistentVolumeClaim) (bool, string, error) {
		switch {
		case now == nil || now.DeletionTimestamp != nil:
			return false, "", fmt.Errorf("%s was deleted by someone else", what)
		case now.Status.Phase == corev1.ClaimLost:
			return false, "", fmt.Errorf("%s lost its volume %s", what, now.Spec.VolumeName)
		case now.Spec.VolumeName != "":
			return true, "", nil
		case waitsForConsumer(s.class) && asked != "" && now.Annotations[annotationSelectedNode] == "":
			err := s.tryNextNode(ctx, asked, events.last())
			return false, events.last(), err
		}
		asked = now.Annotations[annotationSelectedNode]
		return false, events.last(), nil
	})
}

// tryNextNode names another node after the driver refused one.
func (s *stage) tryNextNode(ctx context.Context, refused, message string) error {
	node := s.nextNode()
	if node == "" {
		return fmt.Errorf("driver %s cannot make the volume for node %s, and there is no other node to try: %s", s.id.Driver, refused, cmp.Or(message, s.awaitWarning(ctx, s.claim)))
	}
	s.log.WithField("refused", refused).WithField("node", node).Info("the driver refused a node; try another")
	_, err := apply(ctx, s.kube.Claims(s.staging), s.name, patch{
		"metadata": metaPatch(nil, map[string]string{annotationSelectedNode: node}),
	})
	return wrap(err, "name node %s for staging claim %s/%s", node, s.staging, s.name)
}

// finalizerProvisioner is what csi-provisioner puts on a PersistentVolume with
// the reclaim policy Delete, and takes away when that changes.
const finalizerProvisioner = "external-provisioner.volume.kubernetes.io/finalizer"

// keepVolume makes the new volume independent of the claim: from here on it stays
// in the storage, whatever becomes of that. Its PersistentVolume stays too, with
// our labels, until Velero's own has the volume.
func (s *stage) keepVolume(ctx context.Context, name string) error {
	client := s.kube.PersistentVolumes()
	pv, err := kube.Retry(ctx, func(ctx context.Context) (*corev1.PersistentVolume, error) {
		return client.Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return fmt.Errorf("get PersistentVolume %s of the staging claim: %w", name, err)
	}
	if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != s.id.Driver {
		return fmt.Errorf("PersistentVolume %s of the staging claim is not one of driver %s", name, s.id.Driver)
	}
	if pv, err = unhook(ctx, client, pv, finalizerProvisioner, s.marksOf(pv)...); err != nil {
		return fmt.Errorf("set the reclaim policy of PersistentVolume %s to Retain: %w", name, err)
	}
	s.volume = pv
	return nil
}

// marksOf are the changes that make a PersistentVolume one that is kept.
func (s *stage) marksOf(pv *corev1.PersistentVolume) []jsonPatch {
	labels, annotations := s.labels(), s.annotations()
	for key, value := range pv.Labels {
		labels[key] = value
	}
	steps := []jsonPatch{
		{"replace", "/spec/persistentVolumeReclaimPolicy", corev1.PersistentVolumeReclaimRetain},
		{"add", "/metadata/labels", labels},
	}
	if len(pv.Annotations) == 0 {
		return append(steps, jsonPatch{"add", "/metadata/annotations", annotations})
	}
	for key, value := range annotations {
		steps = append(steps, jsonPatch{"add", "/metadata/annotations/" + pointer(key), value})
	}
	return steps
}
