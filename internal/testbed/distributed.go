package testbed

import (
	"context"
	"path/filepath"
	"strings"
)

// NodeKey is the node label and CSI topology key of a distributed driver, whose
// volumes are each on one node.
const NodeKey = "topology.hostpath.longshore.dev/node"

// topologyKeys are the keys by which the cluster's driver says where a volume is.
func (c *Cluster) topologyKeys() []string {
	switch {
	case c.options.Distributed:
		return []string{NodeKey}
	case c.options.NoTopology:
		return nil
	default:
		return []string{TopologyKey}
	}
}

// storages are the folders of the driver's volumes and snapshots: those of each
// node, for a distributed driver.
func (c *Cluster) storages() []string {
	if !c.options.Distributed {
		return append([]string{c.Storage}, c.added...)
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
		return c.driverCommand(DriverName, socket, storage, node, topologyArgs(NodeKey+"="+node, node)...)
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
	if !c.options.Distributed {
		return part.Name
	}
	return part.Name + "-" + node
}

func topologyArgs(segment string, zones ...string) []string {
	return []string{"--topology", segment, "--zones", strings.Join(zones, ",")}
}

func (c *Cluster) driverCommand(name, socket, storage, node string, args ...string) Command {
	return Command{
		Args: append([]string{
			"--endpoint", "unix://" + socket, "--data", storage, "--name", name, "--node-id", node,
			"--control", c.controlFile(), "--call-log", c.callLog(), "--log-secrets",
		}, args...),
		Ready: answersOn(socket),
	}
}
