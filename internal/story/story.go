// Package story tells the main job of the plugin step by step, on real parts:
// Velero backs up an application, the application is lost, Velero brings it
// back. The demo shows the steps to a person; the end-to-end test takes them as
// its ground.
package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// Names of what the story makes in Velero and S3.
const (
	Bucket  = "backups"
	Prefix  = "cluster-one"
	Backup  = "before-the-storm"
	Restore = "after-the-storm"
)

// Restoring is the name of the step that restores.
const Restoring = "Restore"

// waitLimit bounds the wait for a backup, restore or deletion.
const waitLimit = 3 * time.Minute

// Story is the state of the story between its steps.
type Story struct {
	Bed *testbed.Bed
	// Progress takes a line for each program that must be built, and what the check
	// of the object store writes; nil for none.
	Progress io.Writer

	S3      *testbed.S3
	Cluster *testbed.Cluster
	Velero  *testbed.VeleroServer
	// Before is the application as it was when it was backed up.
	Before State

	// Foreign, if set, fill the cluster with what others have, see
	// testbed.Cluster.AddForeign, and Others is that.
	Foreign *testbed.ForeignOptions
	Others  *testbed.Foreign
	others  testbed.Leftovers
}

// Step is one step of the story.
type Step struct {
	// Name says what is done, in a few words.
	Name string
	// Do does it and returns what there is to tell.
	Do func(ctx context.Context) (detail string, err error)
}

// Steps are the steps in their order. Each needs those before it.
func (s *Story) Steps() []Step {
	return []Step{
		{"Build the plugin and an S3 server", s.buildFirst},
		{"Start the S3 server", s.startS3},
		{"Put, get, list, sign, delete", s.checkObjectStore},
		{"Build the other programs", s.buildOthers},
		{"Start Kubernetes with a CSI driver", s.startCluster},
		{"Install Velero with the plugin", s.installVelero},
		{"Write the application's data", s.writeApp},
		{"Back up", s.backUp},
		{"Disaster: the namespace is deleted", s.destroy},
		{Restoring, s.restore},
		{"Compare every file and object", s.compare},
		{"Delete the backup", s.deleteBackup},
		{"Look for leftovers", s.lookForLeftovers},
	}
}

// The object store half runs on the first programs, which take a minute or two to
// build; the others take many.
var (
	firstPrograms = []testbed.Part{testbed.VersityGW, testbed.Plugin}
	otherPrograms = []testbed.Part{
		testbed.Etcd, testbed.KubeAPIServer, testbed.KubeControllerManager, testbed.SnapshotController, testbed.CSISnapshotter,
		testbed.CSIProvisioner, testbed.SnapshotCRDs, testbed.Velero, testbed.CSIDriver,
	}
)

func (s *Story) buildFirst(ctx context.Context) (string, error)  { return s.build(ctx, firstPrograms) }
func (s *Story) buildOthers(ctx context.Context) (string, error) { return s.build(ctx, otherPrograms) }

func (s *Story) build(ctx context.Context, programs []testbed.Part) (string, error) {
	progress := s.progress()
	if allCached(programs) {
		progress = io.Discard
	}
	if err := testbed.Build(ctx, progress, programs...); err != nil {
		return "", err
	}
	return fmt.Sprintf("all %d are there", len(programs)), nil
}

func (s *Story) progress() io.Writer {
	if s.Progress == nil {
		return io.Discard
	}
	return s.Progress
}

// allCached tells whether nothing is to be built that takes long.
func allCached(parts []testbed.Part) bool {
	return !slices.ContainsFunc(parts, func(p testbed.Part) bool {
		cached, err := p.Cached()
		return err != nil || !cached && !p.Local()
	})
}

func (s *Story) startS3(ctx context.Context) (string, error) {
	var err error
	s.S3, err = s.Bed.StartS3(ctx, testbed.S3Options{Buckets: []string{Bucket}})
	if err != nil {
		return "", err
	}
	return "VersityGW at " + s.S3.Endpoint, nil
}

// checkObjectStore runs the plugin's own check on the storage.
func (s *Story) checkObjectStore(ctx context.Context) (string, error) {
	plugin, err := testbed.Plugin.Path(ctx)
	if err != nil {
		return "", err
	}
	var problems strings.Builder
	check := exec.CommandContext(ctx, plugin, "check", "objectstore", "--bucket", Bucket, "--prefix", Prefix,
		"--config", "s3Url="+s.S3.Endpoint, "--credentials-file", s.S3.CredentialsFile)
	check.Stdout, check.Stderr = s.progress(), &problems
	if err := check.Run(); err != nil {
		return "", fmt.Errorf("check objectstore: %w: %s", err, problems.String())
	}
	return "velero-plugin-longshore check objectstore: it works", nil
}

func (s *Story) startCluster(ctx context.Context) (string, error) {
	var err error
	s.Cluster, err = s.Bed.StartCluster(ctx, testbed.ClusterOptions{ExtraCreateMetadata: true})
	if err != nil {
		return "", err
	}
	return "etcd, kube-apiserver, controllers, " + testbed.DriverName, nil
}

func (s *Story) installVelero(ctx context.Context) (string, error) {
	var err error
	s.Velero, err = s.Bed.StartVelero(ctx, s.Cluster, testbed.VeleroOptions{S3: s.S3, Bucket: Bucket, Prefix: Prefix})
	if err == nil && s.Foreign != nil {
		err = s.addForeign(ctx)
	}
	if err != nil {
		return "", err
	}
	return "velero install --provider " + testbed.Provider + "; the location is Available", nil
}

func (s *Story) addForeign(ctx context.Context) (err error) {
	if s.Others, err = s.Cluster.AddForeign(ctx, *s.Foreign); err == nil {
		s.others, err = s.Cluster.Leftovers(ctx)
	}
	return err
}

// Leftovers are those of a cluster with the story's storage, without what others
// have.
func (s *Story) Leftovers(ctx context.Context, cluster *testbed.Cluster) (testbed.Leftovers, error) {
	left, err := cluster.Leftovers(ctx)
	return left.Without(s.others), err
}

func (s *Story) writeApp(ctx context.Context) (string, error) {
	if err := InstallApp(ctx, s.Cluster); err != nil {
		return "", err
	}
	var err error
	s.Before, err = ReadState(ctx, s.Cluster, Namespace)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d volumes; %d files, ConfigMaps and Secrets", len(claims), len(s.Before)), nil
}

func (s *Story) backUp(ctx context.Context) (string, error) {
	if _, err := s.Velero.CLI(ctx, "backup", "create", Backup, "--include-namespaces", Namespace); err != nil {
		return "", err
	}
	if err := s.Velero.WaitBackup(ctx, Backup, waitLimit); err != nil {
		return "", err
	}
	return fmt.Sprintf("velero backup create %s: Completed, %d snapshots", Backup, len(claims)), nil
}

// destroy loses the application, and proves that it is lost: its volumes are
// gone from the storage, too.
func (s *Story) destroy(ctx context.Context) (string, error) {
	if err := LoseApp(ctx, s.Cluster, Namespace); err != nil {
		return "", err
	}
	err := testbed.Poll(ctx, waitLimit, "the storage to delete the volumes", func(ctx context.Context) (bool, string, error) {
		left, err := s.Leftovers(ctx, s.Cluster)
		return len(left.StorageVolumes)+len(left.PersistentVolumes) == 0, "left: " + strings.Join(left.StorageVolumes, ", "), err
	})
	return "the storage has deleted its volumes", err
}

func (s *Story) restore(ctx context.Context) (string, error) {
	if _, err := s.Velero.CLI(ctx, "restore", "create", Restore, "--from-backup", Backup); err != nil {
		return "", err
	}
	if err := s.Velero.WaitRestore(ctx, Restore, waitLimit); err != nil {
		return "", err
	}
	if err := WaitApp(ctx, s.Cluster, Namespace); err != nil {
		return "", err
	}
	return fmt.Sprintf("velero restore create --from-backup %s: Completed", Backup), nil
}

func (s *Story) compare(ctx context.Context) (string, error) {
	after, err := ReadState(ctx, s.Cluster, Namespace)
	if err != nil {
		return "", err
	}
	if err := Compare(s.Before, after); err != nil {
		return "", err
	}
	return fmt.Sprintf("all %d are equal", len(s.Before)), nil
}

func (s *Story) deleteBackup(ctx context.Context) (string, error) {
	if _, err := s.Velero.CLI(ctx, "backup", "delete", Backup, "--confirm"); err != nil {
		return "", err
	}
	err := testbed.Poll(ctx, waitLimit, "Velero to delete the backup", func(ctx context.Context) (bool, string, error) {
		left, err := BackupNames(ctx, s.Velero)
		return len(left) == 0, "left: " + strings.Join(left, ", "), err
	})
	return "velero backup delete " + Backup, err
}

// BackupNames lists the backups that Velero knows.
func BackupNames(ctx context.Context, velero *testbed.VeleroServer) ([]string, error) {
	backups, err := velero.Objects("backups").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, backup := range backups.Items {
		names = append(names, backup.GetName())
	}
	return names, nil
}

// lookForLeftovers wants to find the restored application's volumes and nothing
// else.
func (s *Story) lookForLeftovers(ctx context.Context) (string, error) {
	left, err := s.Leftovers(ctx, s.Cluster)
	if err != nil {
		return "", err
	}
	if err := OnlyVolumes(left, len(claims)); err != nil {
		return "", err
	}
	objects, err := s.S3.Keys(ctx, Bucket, "")
	if err != nil {
		return "", err
	}
	for _, key := range objects {
		if strings.Contains(key, Backup) && !strings.Contains(key, "/restores/") {
			return "", fmt.Errorf("object %s is left in the bucket", key)
		}
	}
	return "no snapshot, staging object or backup object is left", nil
}

// OnlyVolumes returns an error when there is anything but volumes volumes and
// their claims in a cluster and its storage.
func OnlyVolumes(left testbed.Leftovers, volumes int) error {
	var problems []string
	for kind, names := range map[string][]string{
		"VolumeSnapshots": left.VolumeSnapshots, "VolumeSnapshotContents": left.VolumeSnapshotContents,
		"snapshots in the storage": left.StorageSnapshots,
	} {
		if len(names) > 0 {
			problems = append(problems, fmt.Sprintf("%s left: %s", kind, strings.Join(names, ", ")))
		}
	}
	for kind, names := range map[string][]string{
		"claims": left.Claims, "PersistentVolumes": left.PersistentVolumes, "volumes in the storage": left.StorageVolumes,
	} {
		if len(names) != volumes {
			problems = append(problems, fmt.Sprintf("%d %s where %d belong: %s", len(names), kind, volumes, strings.Join(names, ", ")))
		}
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}
