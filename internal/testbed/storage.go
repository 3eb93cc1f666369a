package testbed

import (
	"context"
	"net"
	"path/filepath"
	"strings"
)

// startStorage starts the CSI driver and then the programs that call it.
func (c *Cluster) startStorage(ctx context.Context) error {
	if err := c.startDriver(ctx); err != nil {
		return err
	}
	return together(
		func() error { return c.startSidecar(ctx, CSIProvisioner, "--feature-gates=Topology=true") },
		func() error { return c.startSidecar(ctx, CSISnapshotter) },
	)
}

func (c *Cluster) startDriver(ctx context.Context) error {
	return c.run(ctx, CSIDriver, 0, func([]int) Command {
		return Command{
			Args: []string{
				"--endpoint", "unix://" + c.socket, "--data", c.Storage, "--name", DriverName,
				"--node-id", NodeName(c.Zones[0]), "--topology", TopologyKey + "=" + c.Zones[0],
				"--zones", strings.Join(c.Zones, ","),
				"--control", c.controlFile(), "--call-log", c.callLog(),
			},
			Ready: func(ctx context.Context) error {
				conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
				if err == nil {
					err = conn.Close()
				}
				return err
			},
		}
	})
}

func (c *Cluster) controlFile() string { return filepath.Join(c.dir, "driver-control.json") }

func (c *Cluster) callLog() string { return filepath.Join(c.dir, "driver-calls.log") }

func (c *Cluster) startSidecar(ctx context.Context, part Part, args ...string) error {
	return c.run(ctx, part, 1, func(ports []int) Command {
		return Command{
			Args: append([]string{
				"--kubeconfig=" + c.Kubeconfig, "--csi-address=unix://" + c.socket,
				"--http-endpoint=" + address(ports[0]),
			}, args...),
			Env:   []string{"NODE_NAME=" + NodeName(c.Zones[0])},
			Ready: answersHTTP("http://" + address(ports[0]) + "/metrics"),
			// Both exit when they lose the driver.
			Respawn: true,
		}
	})
}

func (c *Cluster) startSnapshotController(ctx context.Context) error {
	return c.run(ctx, SnapshotController, 1, func(ports []int) Command {
		return Command{
			Args: []string{
				"--kubeconfig=" + c.Kubeconfig, "--leader-election=false",
				"--http-endpoint=" + address(ports[0]),
			},
			Ready: answersHTTP("http://" + address(ports[0]) + "/metrics"),
		}
	})
}
