package testbed

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// Provider is the plugin's name in both kinds of location.
	Provider = "longshore.dev/s3-csi"
	// DefaultLocation names both locations that `velero install` makes.
	DefaultLocation = "default"

	installTimeout = 2 * time.Minute
)

// VeleroOptions choose how Velero is installed and run. S3 and Bucket are required.
type VeleroOptions struct {
	// Namespace is "velero" if empty.
	Namespace string
	S3        *S3
	// Bucket is created if it is not there, unless NoBucket.
	Bucket   string
	NoBucket bool
	// Prefix is the folder in the bucket.
	Prefix string
	// CredentialsFile is S3.CredentialsFile if empty.
	CredentialsFile string
	// BackupConfig is added to S3.LocationConfig(), SnapshotConfig is the volume
	// snapshot location's config. An empty value removes a key.
	BackupConfig, SnapshotConfig map[string]string
	// Provider is the constant of that name if empty.
	Provider string
	// Plugins are the paths of the plugin programs, ours if empty.
	Plugins []string
	// InstallArgs are added to `velero install`, ServerArgs to `velero server`.
	InstallArgs, ServerArgs []string
	// Env is added to the server's environment, and so to the plugins'.
	Env []string
}

// VeleroServer is Velero, installed in a cluster and run beside it. The Process
// is nil until Serve.
type VeleroServer struct {
	*Process
	Namespace string
	Cluster   *Cluster

	options VeleroOptions
	program string
}

// StartVelero is InstallVelero, Serve and WaitLocation.
func (b *Bed) StartVelero(ctx context.Context, c *Cluster, o VeleroOptions) (*VeleroServer, error) {
	v, err := b.InstallVelero(ctx, c, o)
	if err != nil {
		return nil, err
	}
	if err := v.Serve(ctx); err != nil {
		return nil, err
	}
	return v, v.WaitLocation(ctx, DefaultLocation)
}

// InstallVelero runs the real `velero install` and scales the Deployment, which
// nothing here could run, to zero. The server is not started.
func (b *Bed) InstallVelero(ctx context.Context, c *Cluster, o VeleroOptions) (*VeleroServer, error) {
	v, err := b.prepareVelero(ctx, c, o)
	if err != nil {
		return nil, fmt.Errorf("install Velero: %w", err)
	}
	if !v.options.NoBucket {
		if err := o.S3.CreateBucket(ctx, o.Bucket); err != nil {
			return nil, fmt.Errorf("install Velero: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	args, err := v.installArgs()
	if err != nil {
		return nil, fmt.Errorf("install Velero: %w", err)
	}
	if _, err := v.CLI(ctx, args...); err != nil {
		return nil, fmt.Errorf("install Velero: %w", err)
	}
	_, err = c.Kube.AppsV1().Deployments(v.Namespace).Patch(ctx, "velero", types.MergePatchType,
		[]byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
	if err != nil {
		return nil, fmt.Errorf("install Velero: scale the deployment to zero: %w", err)
	}
	return v, nil
}

func (b *Bed) prepareVelero(ctx context.Context, c *Cluster, o VeleroOptions) (*VeleroServer, error) {
	if o.S3 == nil || o.Bucket == "" {
		return nil, fmt.Errorf("an S3 server and a bucket are required")
	}
	if o.Namespace == "" {
		o.Namespace = "velero"
	}
	if o.Provider == "" {
		o.Provider = Provider
	}
	if o.CredentialsFile == "" {
		o.CredentialsFile = o.S3.CredentialsFile
	}
	if len(o.Plugins) == 0 {
		ours, err := path(ctx, b.progress, Plugin)
		if err != nil {
			return nil, err
		}
		o.Plugins = []string{ours}
	}
	program, err := path(ctx, b.progress, Velero)
	if err != nil {
		return nil, err
	}
	return &VeleroServer{Namespace: o.Namespace, Cluster: c, options: o, program: program}, nil
}

func (v *VeleroServer) installArgs() ([]string, error) {
	o := v.options
	version, err := Velero.Version()
	if err != nil {
		return nil, err
	}
	args := []string{
		"install", "--provider", o.Provider, "--plugins", "longshore/velero-plugin:dev",
		"--image", "velero/velero:" + version, "--bucket", o.Bucket, "--secret-file", o.CredentialsFile,
		"--backup-location-config", flagMap(o.S3.LocationConfig(), o.BackupConfig),
	}
	if o.Prefix != "" {
		args = append(args, "--prefix", o.Prefix)
	}
	if config := flagMap(o.SnapshotConfig); config != "" {
		args = append(args, "--snapshot-location-config", config)
	}
	if o.S3.CAFile != "" {
		args = append(args, "--cacert", o.S3.CAFile)
	}
	return append(args, o.InstallArgs...), nil
}

// flagMap writes maps as key=value,…; later maps win, an empty value removes a key.
func flagMap(config ...map[string]string) string {
	all := map[string]string{}
	for _, c := range config {
		maps.Copy(all, c)
	}
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if all[key] != "" {
			pairs = append(pairs, key+"="+all[key])
		}
	}
	return strings.Join(pairs, ",")
}

// Serve starts the Velero server. Afterwards it can be stopped and started like
// any process.
func (v *VeleroServer) Serve(ctx context.Context) error {
	name := v.Cluster.Name + "-" + v.Namespace
	plugins, err := v.pluginFolder(name)
	if err != nil {
		return fmt.Errorf("start Velero: %w", err)
	}
	v.Process, err = v.Cluster.bed.startOnPorts(ctx, name, 1, func(ports []int) Command {
		return Command{
			Path: v.program, Dir: v.Cluster.dir,
			Args: append([]string{
				"server", "--namespace", v.Namespace, "--plugin-dir", plugins,
				"--metrics-address", address(ports[0]), "--profiler-address", "",
			}, v.options.ServerArgs...),
			Env: append([]string{
				"VELERO_NAMESPACE=" + v.Namespace, "KUBECONFIG=" + v.Cluster.Kubeconfig,
				"AWS_SHARED_CREDENTIALS_FILE=" + v.options.CredentialsFile,
			}, v.options.Env...),
			Ready: answersHTTP("http://" + address(ports[0]) + "/metrics"),
		}
	})
	return err
}

// pluginFolder makes a folder that holds only the plugin programs. Velero skips
// symbolic links.
func (v *VeleroServer) pluginFolder(name string) (string, error) {
	dir, err := v.Cluster.bed.folder(name + "-plugins")
	if err != nil {
		return "", err
	}
	for _, plugin := range v.options.Plugins {
		to := filepath.Join(dir, filepath.Base(plugin))
		if err := os.Link(plugin, to); err == nil {
			continue
		}
		if err := copyFile(plugin, to); err != nil {
			return "", err
		}
		if err := os.Chmod(to, 0o755); err != nil {
			return "", err
		}
	}
	return dir, nil
}
