package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// snapshotBed is a cluster with three Veleros side by side that differ in how they
// snapshot volumes, and in nothing else: all keep their backups in the same bucket
// through the same plugin. There are three for each number of workers, and those of
// one number run at a time.
type snapshotBed struct {
	*testbed.Cluster
	bench *bench
	s3    *testbed.S3
	sets  map[int]veleros
}

// veleros are the three, by the name of how they snapshot.
type veleros map[string]*testbed.VeleroServer

func startSnapshotBed(ctx context.Context, b *bench) (*snapshotBed, error) {
	s3, err := b.server(ctx, servers()[0], false)
	if err != nil {
		return nil, err
	}
	cluster, err := b.bed.StartCluster(ctx, testbed.ClusterOptions{Audit: true})
	if err != nil {
		return nil, err
	}
	return &snapshotBed{Cluster: cluster, bench: b, s3: s3, sets: map[int]veleros{}}, nil
}

// serve returns those with so many workers, and stops all others.
func (s *snapshotBed) serve(ctx context.Context, workers int) (veleros, error) {
	for _, other := range s.sets {
		for _, velero := range other {
			if velero.PID() == 0 {
				continue
			}
			if err := velero.Stop(); err != nil {
				return nil, err
			}
		}
	}
	if known := s.sets[workers]; known != nil {
		for _, velero := range known {
			if err := velero.Start(ctx); err != nil {
				return nil, err
			}
		}
		return known, nil
	}
	started, err := s.startSet(ctx, workers)
	s.sets[workers] = started
	return started, err
}

func (s *snapshotBed) startSet(ctx context.Context, workers int) (veleros, error) {
	started := veleros{}
	csi := []string{"--features=EnableCSI"}
	for _, o := range []struct {
		name    string
		options testbed.VeleroOptions
	}{
		{ours, testbed.VeleroOptions{Namespace: "velero"}},
		{builtinPath, testbed.VeleroOptions{Namespace: "velero-builtin", ServerArgs: csi, InstallArgs: csi}},
		{builtinPolling, testbed.VeleroOptions{
			Namespace: "velero-polling", ServerArgs: csi, InstallArgs: csi, Env: []string{"CSI_SNAPSHOT_EARLY_FREQUENT_POLLING=true"},
		}},
	} {
		if workers > 1 {
			o.options.Namespace += fmt.Sprintf("-%d", workers)
		}
		o.options.ServerArgs = append(slices.Clone(o.options.ServerArgs), fmt.Sprintf("--item-block-worker-count=%d", workers))
		o.options.Prefix, o.options.S3, o.options.Bucket = o.options.Namespace, s.s3, bucket
		o.options.Plugins = []string{s.bench.ours.path}
		var err error
		if started[o.name], err = s.bench.bed.StartVelero(ctx, s.Cluster, o.options); err != nil {
			return started, fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return started, nil
}

// bystanders are the programs whose requests have nothing to do with a backup:
// the API server's own and those of this program, which watches.
var bystanders = []string{"kube-apiserver", filepath.Base(os.Args[0])}

// requests counts what the API server was asked since then, in all and by program.
func (s *snapshotBed) requests(since time.Time) (all int, by string, err error) {
	answered, err := s.Requests(since)
	if err != nil {
		return 0, "", err
	}
	counts := map[string]int{}
	for _, r := range answered {
		if !slices.Contains(bystanders, r.Agent) {
			counts[r.Agent]++
			all++
		}
	}
	var parts []string
	for _, agent := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", agent, counts[agent]))
	}
	return all, strings.Join(parts, ", "), nil
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

// rest is how long the controllers take, once idle, until they may again send as
// many requests at once as they ever do: ten, five a second.
const rest = 3 * time.Second

// loseVolumes deletes a namespace and waits until its volumes are gone too, and the
// controllers at rest: what they still had to do would be measured with what is next.
func (s *snapshotBed) loseVolumes(ctx context.Context, namespace string) error {
	if err := s.DeleteNamespace(ctx, namespace); err != nil {
		return err
	}
	err := poll(ctx, 5*time.Minute, func() (string, error) {
		pvs, err := s.Kube.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		for _, pv := range pvs.Items {
			if pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Namespace == namespace {
				return fmt.Sprintf("PersistentVolume %s is still there", pv.Name), nil
			}
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	return pause(ctx, rest)
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
	began := time.Now()
	for {
		what, err := missing()
		if err != nil || what == "" {
			return err
		}
		if time.Since(began) > timeout {
			return fmt.Errorf("waited %s: %s", timeout, what)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%w, while waiting: %s", err, what)
		}
	}
}
