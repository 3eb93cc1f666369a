package snapshotter

import (
	"context"
	"maps"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// Settings are the settings in effect.
func (s *Snapshotter) Settings() Settings { return s.settings }

// StagingNamespace is where the objects of a restore stand while it runs.
func (s *Snapshotter) StagingNamespace() string { return s.staging }

// ClassOf returns the VolumeSnapshotClass for the volumes of a driver whose
// claims name none.
func (s *Snapshotter) ClassOf(ctx context.Context, driver string) (*snapshotv1.VolumeSnapshotClass, error) {
	return s.snapshotClassFor(ctx, driver, source{}, "")
}

// Drivers counts the nodes that have each CSI driver.
func (s *Snapshotter) Drivers(ctx context.Context) (map[string]int, error) {
	nodes, err := s.kube.CSINodes().List(ctx, "")
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, node := range nodes {
		for _, driver := range node.Spec.Drivers {
			count[driver.Name]++
		}
	}
	return count, nil
}

// Provisioned returns nil if the PersistentVolume was made by the driver's
// provisioner for exactly this claim. Nothing may be done to one without that
// proof.
func Provisioned(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim, driver string) error {
	return objects.ClaimOf(claim, driver).Provisioned(pv)
}

// TrialClass is a copy of a StorageClass under another name, whose claims are
// bound at once, and to no volume that was there before.
func TrialClass(class *storagev1.StorageClass, name string, labels map[string]string) *storagev1.StorageClass {
	trial := class.DeepCopy()
	immediate, policy := storagev1.VolumeBindingImmediate, corev1.PersistentVolumeReclaimDelete
	trial.ObjectMeta.Reset()
	trial.Name, trial.Labels = name, maps.Clone(labels)
	trial.VolumeBindingMode, trial.ReclaimPolicy = &immediate, &policy
	return trial
}

// Right is what the plugin must be allowed to do with a kind of object.
type Right struct {
	Group, Resource, Subresource string
	Verbs                        []string
	// Namespace is where it is needed.
	Namespace Where
}

// Where is the namespace in which a right is needed.
type Where int

// The namespaces.
const (
	Everywhere Where = iota // in every namespace, or of a kind that has none
	InStaging               // where staging objects go
	InVelero                // where Velero is
)

// Rights lists all the rights that the calls need, as docs/rbac.yaml grants them.
func Rights() []Right {
	const storage, snapshot = "storage.k8s.io", "snapshot.storage.k8s.io"
	return []Right{
		{"", "persistentvolumes", "", []string{"get", "list", "watch", "patch", "delete"}, Everywhere},
		{"", "persistentvolumeclaims", "", []string{"get"}, Everywhere},
		{"", "nodes", "", []string{"list"}, Everywhere},
		{storage, "storageclasses", "", []string{"get", "list", "create", "patch", "delete"}, Everywhere},
		{storage, "csinodes", "", []string{"list"}, Everywhere},
		{storage, "csidrivers", "", []string{"get"}, Everywhere},
		{snapshot, "volumesnapshotclasses", "", []string{"list"}, Everywhere},
		{snapshot, "volumesnapshotcontents", "", []string{"get", "list", "watch", "create", "patch", "delete"}, Everywhere},
		{"", "persistentvolumeclaims", "", []string{"get", "list", "watch", "create", "delete"}, InStaging},
		{snapshot, "volumesnapshots", "", []string{"get", "list", "watch", "create", "delete"}, InStaging},
		{"", "events", "", []string{"list"}, InStaging},
		{"", "configmaps", "", []string{"list"}, InVelero},
		{"velero.io", "backups", "", []string{"get"}, InVelero},
	}
}
