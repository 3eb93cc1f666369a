package testbed

import (
	"context"
	"path/filepath"
	"strings"
)

// NodeKey is the node label and CSI topology key of a distributed driver, whose
// volumes are each on one node.
const NodeKey = "topology.hostpath.longshore.dev/node"

// topologyKey is the key by which the cluster's driver says where a volume is.
func (c *Cluster) topologyKey() string {
	if c.distributed {
		return NodeKey
	}
	return TopologyKey
}

// storages are the folders of the driver's volumes and snapshots: those of each
// node, for a distributed driver.
func (c *Cluster) storages() []string {
	if !c.distributed {
		return []string{c.Storage}
	}
	var all []string
	for _, zone := range c.Zones {
		all = append(all, filepath.Join(c.Storage, NodeName(zone)))
	}
	return all
}

// startDistributed starts on each node a driver with a storage of its own, and
// the sidecars that serve it alone.
func (c *Cluster) startDistributed(ctx context.Context) error {
	var starts []func() error
	for i, zone := range c.Zones {
		starts = append(starts, func() error { return c.startNode(ctx, NodeName(zone), c.storages()[i]) })
	}
	return together(starts...)
}

func (c *Cluster) startNode(ctx context.Context, node, storage string) error {
	socket, err := c.bed.socket(c.Name + "-" + node)
	if err != nil {
		return err
	}
	err = c.runAs(ctx, CSIDriver.Name+"-"+node, CSIDriver, 0, func([]int) Command {
		return c.driverCommand(socket, storage, node, NodeKey+"="+node, node)
	})
	if err != nil {
		return err
	}
	return together(
		func() error {
			// The first wait for a claim without a node is twenty seconds otherwise.
			args := []string{"--feature-gates=Topology=true", "--node-deployment", "--node-deployment-base-delay=1s"}
			return c.startSidecar(ctx, CSIProvisioner, node, socket, args...)
		},
		func() error { return c.startSidecar(ctx, CSISnapshotter, node, socket, "--node-deployment") },
	)
}

// nodeOf is the name of a part on a node: the part's own where there is but one.
func (c *Cluster) nodeOf(part Part, node string) string {
	if !c.distributed {
		return part.Name
	}
	return part.Name + "-" + node
}

func (c *Cluster) driverCommand(socket, storage, node, topology string, zones ...string) Command {
	return Command{
		Args: []string{
			"--endpoint", "unix://" + socket, "--data", storage, "--name", DriverName,
			"--node-id", node, "--topology", topology, "--zones", strings.Join(zones, ","),
			"--control", c.controlFile(), "--call-log", c.callLog(),
		},
		Ready: answersOn(socket),
	}
}
