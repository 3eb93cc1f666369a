package testbed

import (
	"context"
	"errors"
	"time"

	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v6/clientset/versioned/typed/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

var errDraft = errors.New("testbed: not built yet")

// Names of what every cluster has.
const (
	// DriverName is the CSI driver.
	DriverName = "hostpath.longshore.dev"
	// TopologyKey is the node label and CSI topology key of a zone.
	TopologyKey = "topology.kubernetes.io/zone"
	// ClassImmediate and ClassWaitForFirstConsumer are the storage classes.
	ClassImmediate            = "hostpath"
	ClassWaitForFirstConsumer = "hostpath-wait"
	// SnapshotClass is the volume snapshot class, with deletion policy Delete.
	SnapshotClass = "hostpath"
)

// ClusterOptions choose a cluster. The zero value is one node in one zone with a
// storage of its own.
type ClusterOptions struct {
	// Name names the cluster's folder and its logs, "cluster" if empty; it must be
	// unique in the bed.
	Name string
	// Zones has the zone of each node; the nodes are named node-ZONE.
	// {"zone-a"} if empty.
	Zones []string
	// Storage is the folder of the CSI driver's volumes and snapshots, own if empty.
	// Give a second cluster the first one's Cluster.Storage to play a new cluster
	// that reaches the old one's storage.
	Storage string
	// DriverArgs are added to the CSI driver's command line.
	DriverArgs []string
	// APIServerArgs are added to the kube-apiserver's command line.
	APIServerArgs []string
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
}

// StartCluster starts a cluster and waits until volumes can be made.
func (b *Bed) StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	return nil, errDraft
}

// Process returns a running part of the cluster by the part's name
// (Etcd.Name, KubeAPIServer.Name, …), for tests that stop and restart it.
func (c *Cluster) Process(name string) *Process { return nil }

// Apply creates or replaces the objects of a YAML text.
func (c *Cluster) Apply(ctx context.Context, yaml string) error { return errDraft }

// CreateNamespace makes a namespace and does nothing if it is there.
func (c *Cluster) CreateNamespace(ctx context.Context, name string) error { return errDraft }

// ClaimOptions describe a claim.
type ClaimOptions struct {
	Namespace, Name string
	// Size is 1Gi if empty, Class ClassImmediate.
	Size, Class string
	// Node names the node for a class that waits for a first consumer; the first
	// node if empty.
	Node   string
	Labels map[string]string
	// Block makes a raw block volume.
	Block bool
	// Snapshot is the VolumeSnapshot in the claim's namespace to restore from.
	Snapshot string
}

// CreateClaim makes a claim and waits until it is Bound.
func (c *Cluster) CreateClaim(ctx context.Context, o ClaimOptions) (*corev1.PersistentVolumeClaim, error) {
	return nil, errDraft
}

// WaitBound waits until a claim is Bound. The error of a deadline carries the
// claim's events.
func (c *Cluster) WaitBound(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	return nil, errDraft
}

// ClaimDir is the folder in which a bound claim's files are.
func (c *Cluster) ClaimDir(ctx context.Context, namespace, name string) (string, error) {
	return "", errDraft
}

// DeleteNamespace deletes a namespace and waits until it is gone.
func (c *Cluster) DeleteNamespace(ctx context.Context, name string) error { return errDraft }

// Leftovers are the names of what a plugin could leave behind, empty if nothing.
type Leftovers struct {
	// VolumeSnapshots and Claims as namespace/name.
	VolumeSnapshots, Claims []string
	VolumeSnapshotContents  []string
	PersistentVolumes       []string
	// StorageVolumes and StorageSnapshots are the handles in the driver's own books.
	StorageVolumes, StorageSnapshots []string
}

// Leftovers lists everything there is in the cluster and in its storage.
func (c *Cluster) Leftovers(ctx context.Context) (Leftovers, error) { return Leftovers{}, errDraft }

// Provider is the plugin's name in both kinds of location.
const Provider = "longshore.dev/s3-csi"

// VeleroOptions choose how Velero is installed and run. S3 and Bucket are required.
type VeleroOptions struct {
	// Namespace is "velero" if empty.
	Namespace string
	S3        *S3
	// Bucket is created if it is not there.
	Bucket string
	// Prefix is the folder in the bucket.
	Prefix string
	// BackupConfig is added to S3.LocationConfig(), SnapshotConfig is the volume
	// snapshot location's config. An empty value removes a key.
	BackupConfig, SnapshotConfig map[string]string
	// Provider is [Provider] if empty.
	Provider string
	// Plugins are the paths of the plugin programs, ours if empty.
	Plugins []string
	// InstallArgs are added to `velero install`, ServerArgs to `velero server`.
	InstallArgs, ServerArgs []string
}

// VeleroServer is Velero, installed in a cluster and run beside it.
type VeleroServer struct {
	*Process
	Namespace string
	Cluster   *Cluster
}

// InstallVelero runs the real `velero install` and scales the Deployment to zero.
// The server is not started.
func (b *Bed) InstallVelero(ctx context.Context, c *Cluster, o VeleroOptions) (*VeleroServer, error) {
	return nil, errDraft
}

// StartVelero is InstallVelero, Serve and WaitLocation.
func (b *Bed) StartVelero(ctx context.Context, c *Cluster, o VeleroOptions) (*VeleroServer, error) {
	return nil, errDraft
}

// Serve starts the Velero server. Restart and Stop are those of the Process.
func (v *VeleroServer) Serve(ctx context.Context) error { return errDraft }

// CLI runs the real velero command-line tool in Velero's namespace and returns
// what it wrote to both outputs; the error carries it too.
func (v *VeleroServer) CLI(ctx context.Context, args ...string) (string, error) { return "", errDraft }

// WaitLocation waits until the backup storage location is Available and returns
// its message with the error if it is not within two minutes.
func (v *VeleroServer) WaitLocation(ctx context.Context, name string) error { return errDraft }

// WaitPhase waits until status.phase of a Velero object (kind "backups",
// "restores", "backupstoragelocations", …) is one of phases and returns it.
// The error of the deadline tells the phase, the status and the server's log.
func (v *VeleroServer) WaitPhase(ctx context.Context, kind, name string, timeout time.Duration, phases ...string) (string, error) {
	return "", errDraft
}

// WaitBackup waits for a backup's end, whatever it is, and fails with its log if
// that is not Completed.
func (v *VeleroServer) WaitBackup(ctx context.Context, name string, timeout time.Duration) error {
	return errDraft
}

// WaitRestore waits for a restore's end like WaitBackup.
func (v *VeleroServer) WaitRestore(ctx context.Context, name string, timeout time.Duration) error {
	return errDraft
}
