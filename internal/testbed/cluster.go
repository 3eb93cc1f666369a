package testbed

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v6/clientset/versioned/typed/volumesnapshot/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Names of what every cluster has.
const (
	// DriverName is the CSI driver.
	DriverName = "hostpath.longshore.dev"
	// TopologyKey is the node label and CSI topology key of a zone.
	TopologyKey = "topology.kubernetes.io/zone"
	// ClassImmediate (the default class), ClassWaitForFirstConsumer and ClassRetain,
	// which keeps volumes and binds immediately, are the storage classes.
	ClassImmediate            = "hostpath"
	ClassWaitForFirstConsumer = "hostpath-wait"
	ClassRetain               = "hostpath-retain"
	// AttributesGold and AttributesSilver are the classes of volume attributes; each
	// has its own name as the parameter "tier". Kubernetes before 1.34 has none.
	AttributesGold   = "gold"
	AttributesSilver = "silver"
	// SnapshotClass is the volume snapshot class, with deletion policy Delete.
	SnapshotClass = "hostpath"
)

// ClusterOptions choose a cluster. The zero value is one node in one zone with a
// storage of its own.
type ClusterOptions struct {
	// Name names the cluster's folder and its logs, "cluster" if empty; it is
	// unique in the bed.
	Name string
	// Zones has the zone of each node; the nodes are named by NodeName.
	// {"zone-a"} if empty.
	Zones []string
	// Storage is the folder of the CSI driver's volumes and snapshots, own if empty.
	// Give a second cluster the first one's Cluster.Storage to play a new cluster
	// that reaches the old one's storage.
	Storage string
	// Args are added to the command line of the part of that name, for instance
	// {CSIDriver.Name: {"--zonal-snapshots"}}.
	Args map[string][]string
	// ExtraCreateMetadata starts the sidecars with --extra-create-metadata, as most
	// drivers' charts do.
	ExtraCreateMetadata bool
	// NoTopology gives the driver no topology at all.
	NoTopology bool
	// Audit has the API server keep books of its requests, for Cluster.Requests.
	Audit bool
	// Distributed gives each node a driver with a storage of its own and sidecars
	// of its own, as drivers of local disks have. Its parts are then named after
	// the node as well, such as CSIDriver.Name + "-" + NodeName("zone-a").
	Distributed bool
}

// Cluster is a Kubernetes control plane with CSI snapshots, under way.
type Cluster struct {
	Name string
	// Kubeconfig is the path of a kubeconfig with all rights.
	Kubeconfig string
	Config     *rest.Config
	Kube       kubernetes.Interface
	Dynamic    dynamic.Interface
	Snapshots  snapshotclient.SnapshotV1Interface
	// Storage is the folder of the CSI driver's volumes and snapshots.
	Storage string
	// Zones has the zone of each node.
	Zones []string

	bed     *Bed
	dir     string
	socket  string
	options ClusterOptions

	mu      sync.Mutex
	parts   map[string]*Process
	added   []string // storages of added drivers
	foreign *Foreign
}

// clusterParts are the parts of a cluster.
func clusterParts() []Part {
	return []Part{
		KubeAPIServer, KubeControllerManager, SnapshotController, CSISnapshotter,
		CSIProvisioner, SnapshotCRDs, Etcd, CSIDriver,
	}
}

// NodeName is the name of the node in a zone.
func NodeName(zone string) string { return "node-" + zone }

// StartCluster starts a cluster and waits until volumes can be made.
func (b *Bed) StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	if o.Name == "" {
		o.Name = "cluster"
	}
	if len(o.Zones) == 0 {
		o.Zones = []string{"zone-a"}
	}
	chosen, err := chosenMatrix()
	if err != nil {
		return nil, err
	}
	o.ExtraCreateMetadata = o.ExtraCreateMetadata || chosen.metadata
	for _, p := range clusterParts() {
		if _, err := path(ctx, b.progress, p); err != nil {
			return nil, err
		}
	}
	c, err := b.prepareCluster(o)
	if err != nil {
		return nil, fmt.Errorf("start cluster %s: %w", o.Name, err)
	}
	if err := c.start(ctx); err != nil {
		return nil, fmt.Errorf("start cluster %s: %w", o.Name, err)
	}
	return c, nil
}

func (b *Bed) prepareCluster(o ClusterOptions) (*Cluster, error) {
	c := &Cluster{Name: o.Name, Zones: o.Zones, Storage: o.Storage, options: o, bed: b, parts: map[string]*Process{}}
	if err := c.checkArgs(); err != nil {
		return nil, err
	}
	var err error
	if c.dir, err = b.folder(o.Name); err != nil {
		return nil, err
	}
	if c.Storage == "" {
		c.Storage = filepath.Join(c.dir, "storage")
	}
	c.socket, err = b.socket(o.Name)
	return c, err
}

func (c *Cluster) checkArgs() error {
	for name := range c.options.Args {
		if !slices.ContainsFunc(clusterParts(), func(p Part) bool { return p.Name == name }) {
			return fmt.Errorf("arguments for %q, which is no part of a cluster", name)
		}
	}
	return nil
}

// start brings the control plane up, then its objects, and then all that needs them.
func (c *Cluster) start(ctx context.Context) error {
	if err := c.startControlPlane(ctx); err != nil {
		return err
	}
	if err := c.applyBase(ctx); err != nil {
		return err
	}
	return together(
		func() error { return c.startControllerManager(ctx) },
		func() error { return c.startSnapshotController(ctx) },
		func() error { return c.startStorage(ctx) },
	)
}

// together runs functions at once and joins their errors.
func together(functions ...func() error) error {
	errs := make([]error, len(functions))
	var wait sync.WaitGroup
	for i, f := range functions {
		wait.Go(func() { errs[i] = f() })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Process returns a part of the cluster by the part's name (Etcd.Name,
// KubeAPIServer.Name, …), for tests that stop and restart it. It is nil for a
// name that is none.
func (c *Cluster) Process(name string) *Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parts[name]
}

// Kill ends the whole cluster at once, as a disaster does. Its storage stays.
func (c *Cluster) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, p := range c.parts {
		errs = append(errs, p.Kill())
	}
	return errors.Join(errs...)
}

// run starts a part of the cluster that listens on n ports.
func (c *Cluster) run(ctx context.Context, part Part, n int, command func(ports []int) Command) error {
	return c.runAs(ctx, part.Name, part, n, command)
}

// runAs is run under a name that is not the part's.
func (c *Cluster) runAs(ctx context.Context, name string, part Part, n int, command func(ports []int) Command) error {
	program, err := part.Path(ctx)
	if err != nil {
		return err
	}
	p, err := c.bed.startOnPorts(ctx, c.Name+"-"+name, n, func(ports []int) Command {
		cmd := command(ports)
		cmd.Path, cmd.Dir = program, c.dir
		cmd.Args = append(cmd.Args, c.options.Args[part.Name]...)
		return cmd
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts[name] = p
	return nil
}
