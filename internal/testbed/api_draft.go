package testbed

import (
	"context"
	"errors"
	"time"
)

var errDraft = errors.New("testbed: not built yet")

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
