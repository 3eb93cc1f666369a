package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	bindTimeout = time.Minute
	// selectedNode is the annotation by which the scheduler tells the provisioner
	// where a claim that waits for its first consumer is wanted.
	selectedNode = "volume.kubernetes.io/selected-node"
)

// ClaimOptions describe a claim.
type ClaimOptions struct {
	Namespace, Name string
	// Size is 1Gi if empty, Class the one that MatrixVariable chose or ClassImmediate.
	Size, Class string
	// Node names the node for a class that waits for a first consumer; the first
	// node if empty.
	Node   string
	Labels map[string]string
	// Block makes a raw block volume.
	Block bool
	// AttributesClass is the VolumeAttributesClass, none if empty.
	AttributesClass string
	// AccessModes are ReadWriteOnce if empty.
	AccessModes []corev1.PersistentVolumeAccessMode
	// Snapshot is the VolumeSnapshot in the claim's namespace to restore from.
	Snapshot string

	label func(metav1.Object)
}

// CreateClaim makes a claim and waits until it is Bound. It gets a volume of its
// own, also where there is one that the controllers would rather bind to it (see
// AddForeign).
func (c *Cluster) CreateClaim(ctx context.Context, o ClaimOptions) (claim *corev1.PersistentVolumeClaim, err error) {
	err = c.withoutForeign(ctx, func() error {
		claim, err = c.createClaim(ctx, o)
		return err
	})
	return claim, err
}

func (c *Cluster) createClaim(ctx context.Context, o ClaimOptions) (*corev1.PersistentVolumeClaim, error) {
	claim, err := c.claim(o)
	if err != nil {
		return nil, fmt.Errorf("create claim %s/%s: %w", o.Namespace, o.Name, err)
	}
	if _, err := c.Kube.CoreV1().PersistentVolumeClaims(o.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create claim %s/%s: %w", o.Namespace, o.Name, err)
	}
	return c.WaitBound(ctx, o.Namespace, o.Name)
}

func (c *Cluster) claim(o ClaimOptions) (*corev1.PersistentVolumeClaim, error) {
	if o.Size == "" {
		o.Size = "1Gi"
	}
	if o.Class == "" {
		chosen, err := chosenMatrix()
		if err != nil {
			return nil, err
		}
		o.Class = chosen.class
	}
	if o.Node == "" {
		o.Node = NodeName(c.Zones[0])
	}
	if len(o.AccessModes) == 0 {
		o.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	}
	size, err := resource.ParseQuantity(o.Size)
	if err != nil {
		return nil, fmt.Errorf("size %q: %w", o.Size, err)
	}
	mode := corev1.PersistentVolumeFilesystem
	if o.Block {
		mode = corev1.PersistentVolumeBlock
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: o.Name, Labels: o.Labels},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      o.AccessModes,
			StorageClassName: &o.Class,
			VolumeMode:       &mode,
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: size},
			},
		},
	}
	if o.AttributesClass != "" {
		claim.Spec.VolumeAttributesClassName = &o.AttributesClass
	}
	if o.Class != ClassImmediate && o.Class != ClassRetain {
		claim.Annotations = map[string]string{selectedNode: o.Node}
	}
	if o.Snapshot != "" {
		group := "snapshot.storage.k8s.io"
		claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: &group, Kind: "VolumeSnapshot", Name: o.Snapshot}
	}
	if o.label != nil {
		o.label(claim)
	}
	return claim, nil
}

// WaitBound waits until a claim is Bound. The error of the deadline carries the
// claim's events.
func (c *Cluster) WaitBound(ctx context.Context, namespace, name string) (claim *corev1.PersistentVolumeClaim, err error) {
	what := fmt.Sprintf("claim %s/%s to be bound", namespace, name)
	err = Poll(ctx, bindTimeout, what, func(ctx context.Context) (bool, string, error) {
		claim, err = c.Kube.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		return claim.Status.Phase == corev1.ClaimBound, "phase " + string(claim.Status.Phase), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w; events: %s", err, c.events(context.WithoutCancel(ctx), namespace, name))
	}
	return claim, nil
}

func (c *Cluster) events(ctx context.Context, namespace, name string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := c.Kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return err.Error()
	}
	var messages []string
	for _, event := range list.Items {
		messages = append(messages, event.Reason+": "+event.Message)
	}
	return strings.Join(messages, "; ")
}

// Handle is the CSI volume handle of a bound claim.
func (c *Cluster) Handle(ctx context.Context, namespace, name string) (string, error) {
	claim, err := c.Kube.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("volume of claim %s/%s: %w", namespace, name, err)
	}
	volume, err := c.Kube.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("volume of claim %s/%s: %w", namespace, name, err)
	}
	if volume.Spec.CSI == nil {
		return "", fmt.Errorf("volume of claim %s/%s: %s is no CSI volume", namespace, name, volume.Name)
	}
	return volume.Spec.CSI.VolumeHandle, nil
}

// ClaimDir is the folder in which a bound claim's files are.
func (c *Cluster) ClaimDir(ctx context.Context, namespace, name string) (string, error) {
	handle, err := c.Handle(ctx, namespace, name)
	if err != nil {
		return "", err
	}
	return filepath.Join(c.volumeFolder(handle), "data"), nil
}

// folderOf is the folder of a handle, which the driver makes longer when it is told to.
func folderOf(handle string) string {
	folder, _, _ := strings.Cut(handle, "/")
	return folder
}

// volumeFolder is where the driver keeps the volume of that handle.
func (c *Cluster) volumeFolder(handle string) string {
	folder := folderOf(handle)
	storages := c.storages()
	i := slices.IndexFunc(storages, func(storage string) bool {
		_, err := os.Stat(filepath.Join(storage, "volumes", folder))
		return err == nil
	})
	return filepath.Join(storages[max(i, 0)], "volumes", folder)
}

// ClaimImage is the file that holds the bytes of a bound raw block claim.
func (c *Cluster) ClaimImage(ctx context.Context, namespace, name string) (string, error) {
	dir, err := c.ClaimDir(ctx, namespace, name)
	return dir + ".img", err
}
