package snapshotter

import (
	"context"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/classes"
)

// OpenOn makes a Snapshotter like Open, for the cluster of the client and Velero
// in the given namespace.
func OpenOn(client *kube.Client, namespace string, log logrus.FieldLogger, config map[string]string) (*Snapshotter, error) {
	s := DefaultSettings()
	if err := settings.Decode(config, &s); err != nil {
		return nil, err
	}
	return newSnapshotter(s, client, log, namespace), nil
}

// Settings are the settings in effect.
func (s *Snapshotter) Settings() Settings { return s.settings }

// StagingNamespace is where the objects of a restore stand while it runs.
func (s *Snapshotter) StagingNamespace() string { return s.staging }

// ClassOf returns the VolumeSnapshotClass for the volumes of a driver whose
// claims name none.
func (s *Snapshotter) ClassOf(ctx context.Context, driver string) (*snapshotv1.VolumeSnapshotClass, error) {
	list, err := s.listClasses(ctx)
	if err != nil {
		return nil, err
	}
	return classes.ForSnapshot(s.snapshotWish(driver, nil), list)
}

// Drivers counts the nodes that have each CSI driver.
func (s *Snapshotter) Drivers(ctx context.Context) (map[string]int, error) {
	nodes, err := s.csiNodes(ctx)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for i := range nodes {
		for _, driver := range nodes[i].Spec.Drivers {
			count[driver.Name]++
		}
	}
	return count, nil
}

// NodeFor returns the best node for a new volume of a class, "" if there is none.
func (s *Snapshotter) NodeFor(ctx context.Context, class *storagev1.StorageClass) (string, error) {
	nodes, _, err := s.nodesFor(ctx, placement{driver: class.Provisioner, allowed: class.AllowedTopologies})
	if err != nil || len(nodes) == 0 {
		return "", err
	}
	return nodes[0], nil
}

// Right is what the plugin must be allowed to do with a kind of object.
type Right struct {
	Group, Resource, Subresource string
	Verbs                        []string
	// Staging tells that it is needed in the staging namespace only, otherwise it
	// is needed in every one.
	Staging bool
}

// Rights lists all the rights that the calls need, as docs/rbac.yaml grants them.
func Rights() []Right {
	const storage, snapshot = "storage.k8s.io", "snapshot.storage.k8s.io"
	return []Right{
		{"", "persistentvolumes", "", []string{"get", "list", "watch", "patch", "delete"}, false},
		{"", "persistentvolumeclaims", "", []string{"get"}, false},
		{"", "nodes", "", []string{"list"}, false},
		{storage, "storageclasses", "", []string{"list"}, false},
		{storage, "csinodes", "", []string{"list"}, false},
		{storage, "csidrivers", "", []string{"get"}, false},
		{snapshot, "volumesnapshotclasses", "", []string{"list"}, false},
		{snapshot, "volumesnapshotcontents", "", []string{"get", "list", "watch", "create", "patch", "delete"}, false},
		{snapshot, "volumesnapshotcontents", "status", []string{"patch"}, false},
		{"", "persistentvolumeclaims", "", []string{"get", "list", "watch", "create", "patch", "delete"}, true},
		{snapshot, "volumesnapshots", "", []string{"get", "list", "watch", "create", "patch", "delete"}, true},
		{"", "events", "", []string{"list"}, true},
		{"", "configmaps", "", []string{"list"}, true},
		{"velero.io", "backups", "", []string{"get"}, true},
	}
}
