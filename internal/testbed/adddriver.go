package testbed

import (
	"context"
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DriverOptions describe one more CSI driver of a cluster.
type DriverOptions struct {
	// Name is its CSI name, and the name of its storage class (which keeps nothing
	// and binds immediately) and of its volume snapshot class.
	Name string
	// Storage is the folder of its volumes. The cluster's own if empty: the driver
	// then serves the same volumes and snapshots, as one that was renamed does.
	Storage string
}

// AddDriver starts a CSI driver beside the cluster's own, with the sidecars that
// serve it. DriverControl and DriverCalls are about both. Its parts are named after
// it, such as CSIDriver.Name + "-" + Name.
func (c *Cluster) AddDriver(ctx context.Context, o DriverOptions) error {
	if o.Storage == "" {
		o.Storage = c.Storage
	}
	if err := c.addDriver(ctx, o); err != nil {
		return fmt.Errorf("add the driver %s: %w", o.Name, err)
	}
	return nil
}

func (c *Cluster) addDriver(ctx context.Context, o DriverOptions) error {
	socket, err := c.bed.socket(c.Name + "-" + o.Name)
	if err != nil {
		return err
	}
	node := NodeName(c.Zones[0])
	err = c.runAs(ctx, CSIDriver.Name+"-"+o.Name, CSIDriver, 0, func([]int) Command {
		return c.driverCommand(o.Name, socket, o.Storage, node, c.zoneArgs()...)
	})
	if err != nil {
		return err
	}
	if !slices.Contains(c.storages(), o.Storage) {
		c.added = append(c.added, o.Storage)
	}
	for _, zone := range c.Zones {
		if err := c.setTopologyKeys(ctx, NodeName(zone), o.Name, c.topologyKeys()); err != nil {
			return err
		}
	}
	return together(
		func() error { return c.Apply(ctx, fmt.Sprintf(addedClasses, o.Name)) },
		func() error {
			return c.startSidecarAs(ctx, CSIProvisioner.Name+"-"+o.Name, CSIProvisioner, node, socket, "--feature-gates=Topology=true")
		},
		func() error {
			return c.startSidecarAs(ctx, CSISnapshotter.Name+"-"+o.Name, CSISnapshotter, node, socket)
		},
	)
}

const addedClasses = `
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: %[1]s}
spec: {attachRequired: false, volumeLifecycleModes: [Persistent]}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: %[1]s}
provisioner: %[1]s
reclaimPolicy: Delete
allowVolumeExpansion: true
volumeBindingMode: Immediate
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: %[1]s}
driver: %[1]s
deletionPolicy: Delete
`

// SetTopologyKeys makes the CSINode of a node say that the cluster's driver has
// these topology keys there; none is what a node says whose driver has only just
// registered, or has no topology.
func (c *Cluster) SetTopologyKeys(ctx context.Context, node string, keys ...string) error {
	if err := c.setTopologyKeys(ctx, node, DriverName, keys); err != nil {
		return fmt.Errorf("set the topology keys of %s: %w", node, err)
	}
	return nil
}

// setTopologyKeys takes the driver away first, since keys cannot be changed.
func (c *Cluster) setTopologyKeys(ctx context.Context, node, driver string, keys []string) error {
	nodes := c.Kube.StorageV1().CSINodes()
	object, err := nodes.Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	object.Spec.Drivers = slices.DeleteFunc(object.Spec.Drivers, func(d storagev1.CSINodeDriver) bool { return d.Name == driver })
	if object, err = nodes.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
		return err
	}
	object.Spec.Drivers = append(object.Spec.Drivers, storagev1.CSINodeDriver{Name: driver, NodeID: node, TopologyKeys: keys})
	_, err = nodes.Update(ctx, object, metav1.UpdateOptions{})
	return err
}
