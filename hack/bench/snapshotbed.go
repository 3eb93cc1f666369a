package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// snapshotBed is a cluster with two Veleros side by side that differ in how they
// snapshot volumes, and in nothing else: both keep their backups in the same
// bucket through the same plugin.
type snapshotBed struct {
	*testbed.Cluster
	velero map[string]*testbed.VeleroServer
}

func startSnapshotBed(ctx context.Context, b *bench) (*snapshotBed, error) {
	s3, err := b.server(ctx, servers()[0], false)
	if err != nil {
		return nil, err
	}
	cluster, err := b.bed.StartCluster(ctx, testbed.ClusterOptions{})
	if err != nil {
		return nil, err
	}
	bed := &snapshotBed{Cluster: cluster, velero: map[string]*testbed.VeleroServer{}}
	csi := []string{"--features=EnableCSI"}
	for _, o := range []struct {
		name    string
		options testbed.VeleroOptions
	}{
		{ours, testbed.VeleroOptions{Namespace: "velero", Prefix: "ours"}},
		{builtinPath, testbed.VeleroOptions{Namespace: "velero-builtin", Prefix: "builtin", ServerArgs: csi, InstallArgs: csi}},
	} {
		o.options.S3, o.options.Bucket, o.options.Plugins = s3, bucket, []string{b.ours.path}
		if bed.velero[o.name], err = b.bed.StartVelero(ctx, cluster, o.options); err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return bed, nil
}

func claimName(i int) string { return fmt.Sprintf("claim-%03d", i) }

// makeVolumes makes a namespace of bound claims with a file in each.
func (s *snapshotBed) makeVolumes(ctx context.Context, namespace string, count int) error {
	if err := s.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	running, ctx := errgroup.WithContext(ctx)
	running.SetLimit(10)
	for i := range count {
		running.Go(func() error {
			if _, err := s.CreateClaim(ctx, testbed.ClaimOptions{Namespace: namespace, Name: claimName(i)}); err != nil {
				return err
			}
			file, err := s.file(ctx, namespace, i)
			if err != nil {
				return err
			}
			return os.WriteFile(file, noise[i:i+smallSize], 0o600)
		})
	}
	return running.Wait()
}

func (s *snapshotBed) file(ctx context.Context, namespace string, i int) (string, error) {
	dir, err := s.ClaimDir(ctx, namespace, claimName(i))
	return filepath.Join(dir, "data"), err
}

// checkVolumes wants in each volume what makeVolumes wrote.
func (s *snapshotBed) checkVolumes(ctx context.Context, namespace string, count int) error {
	for i := range count {
		file, err := s.file(ctx, namespace, i)
		if err != nil {
			return err
		}
		found, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !bytes.Equal(found, noise[i:i+smallSize]) {
			return fmt.Errorf("%s is not what was backed up", file)
		}
	}
	return nil
}

// notFound tells whether an error says that the object is not there, and returns
// every other error.
func notFound(err error) (bool, error) {
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}

// poll asks what is missing until nothing is.
func poll(ctx context.Context, timeout time.Duration, missing func() (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		what, err := missing()
		if err != nil || what == "" {
			return err
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("waited %s: %s", timeout, what)
		}
	}
}
