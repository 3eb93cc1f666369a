package testbed

import (
	"context"
	"net"
	"path/filepath"
)

// startStorage starts the CSI driver and then the programs that call it.
func (c *Cluster) startStorage(ctx context.Context) error {
	if c.options.Distributed {
		return c.startDistributed(ctx)
	}
	if err := c.startDriver(ctx); err != nil {
		return err
	}
	node := NodeName(c.Zones[0])
	return together(
		func() error {
			return c.startSidecar(ctx, CSIProvisioner, node, c.socket, "--feature-gates=Topology=true")
		},
		func() error { return c.startSidecar(ctx, CSISnapshotter, node, c.socket) },
	)
}

func (c *Cluster) startDriver(ctx context.Context) error {
	return c.run(ctx, CSIDriver, 0, func([]int) Command {
		return c.driverCommand(DriverName, c.socket, c.Storage, NodeName(c.Zones[0]), c.zoneArgs()...)
	})
}

// zoneArgs are the driver's arguments about the zones.
func (c *Cluster) zoneArgs() []string {
	if c.options.NoTopology {
		return nil
	}
	return topologyArgs(TopologyKey+"="+c.Zones[0], c.Zones...)
}

// answersOn is a probe that is content with a unix socket that takes connections.
func answersOn(socket string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
}

func (c *Cluster) controlFile() string { return filepath.Join(c.dir, "driver-control.json") }

func (c *Cluster) callLog() string { return filepath.Join(c.dir, "driver-calls.log") }

func (c *Cluster) startSidecar(ctx context.Context, part Part, node, socket string, args ...string) error {
	return c.startSidecarAs(ctx, c.nodeOf(part, node), part, node, socket, args...)
}

func (c *Cluster) startSidecarAs(ctx context.Context, name string, part Part, node, socket string, args ...string) error {
	if c.options.ExtraCreateMetadata {
		args = append(args, "--extra-create-metadata")
	}
	return c.runAs(ctx, name, part, 1, func(ports []int) Command {
		return Command{
			Args: append([]string{
				"--kubeconfig=" + c.Kubeconfig, "--csi-address=unix://" + socket,
				"--http-endpoint=" + address(ports[0]),
			}, args...),
			Env:   []string{"NODE_NAME=" + node, "NAMESPACE=kube-system", "POD_NAME=" + part.Name},
			Ready: answersHTTP("http://" + address(ports[0]) + "/metrics"),
			// Both exit when they lose the driver.
			Respawn: true,
		}
	})
}

func (c *Cluster) startSnapshotController(ctx context.Context) error {
	return c.run(ctx, SnapshotController, 1, func(ports []int) Command {
		cmd := Command{
			Args: []string{
				"--kubeconfig=" + c.Kubeconfig, "--leader-election=false",
				"--http-endpoint=" + address(ports[0]),
			},
			Ready: answersHTTP("http://" + address(ports[0]) + "/metrics"),
		}
		if c.options.Distributed {
			cmd.Args = append(cmd.Args, "--enable-distributed-snapshotting")
		}
		return cmd
	})
}
