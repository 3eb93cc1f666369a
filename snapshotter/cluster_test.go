package snapshotter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// The tests in files named after a cluster run against the real controllers. Two
// clusters of three zones serve them all, each for one test at a time. They are as
// clusters are: full of what belongs to others, Available volumes of every class among
// that. After each test nothing of that may be changed, and nothing else be left.

var shared struct {
	once sync.Once
	bed  *testbed.Bed
	err  error
	free chan *sharedCluster // those that no test has
}

// sharedCluster is a cluster that is started for the first test that wants it.
type sharedCluster struct {
	*testbed.Cluster

	name    string
	once    sync.Once
	foreign *testbed.Foreign
	err     error
}

func TestMain(m *testing.M) {
	if asked, err := runCall(); asked {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	status := m.Run()
	if shared.bed != nil {
		if status != 0 {
			shared.bed.Keep()
			fmt.Fprintln(os.Stderr, "the testbed is kept in", shared.bed.Dir())
		}
		if err := shared.bed.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the testbed:", err)
			status = 1
		}
	}
	os.Exit(status)
}

// bench is a cluster with one application namespace and a Snapshotter for it.
type bench struct {
	*testing.T
	*testbed.Cluster
	*Snapshotter
	namespace string
	foreign   *testbed.Foreign // nil if the cluster is the test's own
}

// onCluster has the test run beside others, and returns a bench on a cluster that it
// has for itself. When the test ends, nothing but what was there before it may be left.
func onCluster(t *testing.T, config map[string]string) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	t.Parallel()
	shared.once.Do(startShared)
	require.NoError(t, shared.err)
	cluster := <-shared.free
	t.Cleanup(func() { shared.free <- cluster })
	cluster.once.Do(cluster.start)
	require.NoError(t, cluster.err)
	b := benchOn(t, cluster.Cluster, config)
	b.foreign = cluster.foreign
	return b
}

func startShared() {
	if shared.bed, shared.err = testbed.New(testbed.Options{}); shared.err != nil {
		return
	}
	names := []string{"one", "two"}
	shared.free = make(chan *sharedCluster, len(names))
	for _, name := range names {
		shared.free <- &sharedCluster{name: name}
	}
}

func (c *sharedCluster) start() {
	ctx := context.Background()
	c.Cluster, c.err = shared.bed.StartCluster(ctx, testbed.ClusterOptions{Name: c.name, Zones: []string{"zone-a", "zone-b", "zone-c"}, ExtraCreateMetadata: true})
	if c.err == nil {
		c.err = c.CreateNamespace(ctx, "velero")
	}
	if c.err == nil {
		c.foreign, c.err = c.AddForeign(ctx, testbed.ForeignOptions{Label: ofAnotherVelero})
	}
}

// ofAnotherVelero labels an object as the plugin of another Velero does that is at
// work.
func ofAnotherVelero(object metav1.Object, purpose string) {
	call := objects.NewCall(objects.Owner{Velero: testbed.ForeignVelero}, objects.Purpose(purpose), time.Now().Add(time.Hour))
	object.SetLabels(call.Meta("").Labels)
	object.SetAnnotations(call.Meta("").Annotations)
}

func benchOn(t *testing.T, cluster *testbed.Cluster, config map[string]string) *bench {
	t.Helper()
	b := &bench{T: t, Cluster: cluster, namespace: fmt.Sprintf("app-%d", time.Now().UnixNano())}
	require.NoError(t, cluster.CreateNamespace(t.Context(), "velero"))
	require.NoError(t, cluster.CreateNamespace(t.Context(), b.namespace))
	before, err := cluster.Leftovers(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { b.nothingLeft(before) })
	b.Snapshotter = b.open(config)
	return b
}

// open makes a Snapshotter as a plugin process on this cluster would.
func (b *bench) open(config map[string]string) *Snapshotter {
	b.Helper()
	log := logrus.New()
	log.SetOutput(b.Output())
	log.SetLevel(logrus.DebugLevel)
	config = maps.Clone(config)
	if config == nil {
		config = map[string]string{}
	}
	if config["sweepAfter"] == "" {
		config["sweepAfter"] = "0" // in the background it would outlive the test
	}
	s, err := OpenOn(nil, "velero", log, config)
	require.NoError(b, err)
	require.NoError(b, s.connect(b.Config))
	return s
}

// nothingLeft deletes the application and demands that all is then as before.
func (b *bench) nothingLeft(before testbed.Leftovers) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	require.NoError(b, b.ControlDriver(testbed.DriverControl{}))
	require.NoError(b, b.retainNothing(ctx))
	require.NoError(b, b.DeleteNamespaceLater(ctx, b.namespace))
	if b.foreign != nil {
		require.NoError(b, b.foreign.Verify(ctx))
	}
	require.NoError(b, b.forgetAll(ctx))
	var now testbed.Leftovers
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now, err = b.Leftovers(ctx); err == nil && fmt.Sprint(now) == fmt.Sprint(before) {
			return
		}
	}
	require.Failf(b, "something is left", "before %+v\nnow %+v (%v)", before, now, err)
}

// forgetAll removes the journal and the notes of drivers, which are to outlive calls, so
// that no test depends on those before it.
func (b *bench) forgetAll(ctx context.Context) error {
	configs := b.Kube.CoreV1().ConfigMaps("velero")
	all, err := configs.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, m := range all.Items {
		if strings.HasPrefix(m.Name, "longshore-") {
			err = errors.Join(err, configs.Delete(ctx, m.Name, metav1.DeleteOptions{}))
		}
	}
	return err
}

// retainNothing has the volumes of the application go with their claims, whatever
// their class says; also of those in a second namespace of the test.
func (b *bench) retainNothing(ctx context.Context) error {
	volumes := b.Kube.CoreV1().PersistentVolumes()
	all, err := volumes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, pv := range all.Items {
		if pv.Spec.ClaimRef == nil || !strings.HasPrefix(pv.Spec.ClaimRef.Namespace, b.namespace) || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
			continue
		}
		_, patchErr := volumes.Patch(ctx, pv.Name, types.MergePatchType, []byte(`{"spec": {"persistentVolumeReclaimPolicy": "Delete"}}`), metav1.PatchOptions{})
		if !apierrors.IsNotFound(patchErr) { // the test may have deleted it just now
			err = errors.Join(err, patchErr)
		}
	}
	return err
}

// claimed makes a claim with a file in it, and returns its PersistentVolume.
func (b *bench) claimed(o testbed.ClaimOptions, content string) *corev1.PersistentVolume {
	b.Helper()
	o.Namespace = b.namespace
	claim, err := b.CreateClaim(b.Context(), o)
	require.NoError(b, err)
	b.write(o.Name, content)
	pv, err := b.Kube.CoreV1().PersistentVolumes().Get(b.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	require.NoError(b, err)
	return pv
}

func (b *bench) write(claim, content string) {
	b.Helper()
	dir, err := b.ClaimDir(b.Context(), b.namespace, claim)
	require.NoError(b, err)
	if _, err := os.Stat(dir); err != nil {
		dir += ".img"
		require.NoError(b, os.WriteFile(dir, []byte(content), 0o600))
		return
	}
	require.NoError(b, os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o600))
}

func (b *bench) volumeID(pv *corev1.PersistentVolume) string {
	b.Helper()
	id, err := b.GetVolumeID(b.Context(), marshal(b.T, pv))
	require.NoError(b, err)
	return id
}

// snapshotOf takes a snapshot of the volume as Velero would.
func (b *bench) snapshotOf(pv *corev1.PersistentVolume, backup string) string {
	b.Helper()
	id, err := b.CreateSnapshot(b.Context(), b.volumeID(pv), "", map[string]string{tagBackup: backup, "velero.io/pv": pv.Name})
	require.NoError(b, err)
	return id
}

// restoreAs makes a new volume of the snapshot, as the PersistentVolume of a
// claim of that name, as Velero would, and returns the file in it.
func (b *bench) restoreAs(s *Snapshotter, snapshotID string, old *corev1.PersistentVolume, name string) (*corev1.PersistentVolume, string) {
	b.Helper()
	volumeID, err := s.CreateVolumeFromSnapshot(b.Context(), snapshotID, old.Spec.StorageClassName, "", nil)
	require.NoError(b, err)
	return b.adopt(s, volumeID, old, name)
}

// adopt makes the volume that of a claim of the given name, which then owns it.
func (b *bench) adopt(s *Snapshotter, volumeID string, old *corev1.PersistentVolume, name string) (*corev1.PersistentVolume, string) {
	b.Helper()
	content, err := s.SetVolumeID(b.Context(), marshal(b.T, b.template(old, name)), volumeID)
	require.NoError(b, err)
	var pv corev1.PersistentVolume
	require.NoError(b, json.Unmarshal(content, &pv))
	made, err := b.Kube.CoreV1().PersistentVolumes().Create(b.Context(), &pv, metav1.CreateOptions{})
	require.NoError(b, err)
	b.claimedBy(made, name)
	return made, b.read(name)
}

// claimedBy binds a PersistentVolume to a new claim of the given name.
func (b *bench) claimedBy(pv *corev1.PersistentVolume, name string) {
	b.Helper()
	_, err := b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Create(b.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: pv.Name, StorageClassName: &pv.Spec.StorageClassName, VolumeMode: pv.Spec.VolumeMode, AccessModes: pv.Spec.AccessModes,
			Resources: corev1.VolumeResourceRequirements{Requests: pv.Spec.Capacity},
		},
	}, metav1.CreateOptions{})
	require.NoError(b, err)
	_, err = b.WaitBound(b.Context(), b.namespace, name)
	require.NoError(b, err)
}

// volumeDir is where the storage keeps a volume.
func (b *bench) volumeDir(handle string) string { return filepath.Join(b.Storage, "volumes", handle) }

// template is the PersistentVolume that Velero would restore for a claim of the
// given name.
func (b *bench) template(old *corev1.PersistentVolume, name string) *corev1.PersistentVolume {
	template := old.DeepCopy()
	template.ObjectMeta = metav1.ObjectMeta{Name: name + "-" + b.namespace, Labels: old.Labels, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": testbed.DriverName}}
	template.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: b.namespace, Name: name}
	template.Status = corev1.PersistentVolumeStatus{}
	return template
}

func (b *bench) read(claim string) string {
	b.Helper()
	dir, err := b.ClaimDir(b.Context(), b.namespace, claim)
	require.NoError(b, err)
	content, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil {
		content, err = os.ReadFile(dir + ".img")
	}
	require.NoError(b, err)
	return string(content)
}

// background is a context for what runs after the test.
func (b *bench) background() context.Context { return context.WithoutCancel(b.Context()) }

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	content, err := json.Marshal(v)
	require.NoError(t, err)
	return content
}

// onlySnapshots demands that the cluster has no snapshot objects and staging
// claims more than before, and that the storage has exactly this many snapshots
// more.
func (b *bench) onlySnapshots(before testbed.Leftovers, more int) {
	b.Helper()
	now, err := b.Leftovers(b.Context())
	require.NoError(b, err)
	require.Empty(b, unlike(before, now, more))
}

// soonOnlySnapshots is onlySnapshots for what the plugin has asked to be removed and
// the controllers take a while to let go of.
func (b *bench) soonOnlySnapshots(before testbed.Leftovers, more int) {
	b.Helper()
	require.NoError(b, testbed.Poll(b.Context(), time.Minute, "the controllers to let go", func(ctx context.Context) (bool, string, error) {
		now, err := b.Leftovers(ctx)
		difference := unlike(before, now, more)
		return difference == "", difference, err
	}))
}

// unlike tells how what is there is not what was there and this many snapshots.
func unlike(before, now testbed.Leftovers, more int) string {
	kinds := [][2][]string{
		{before.VolumeSnapshots, now.VolumeSnapshots},
		{before.VolumeSnapshotContents, now.VolumeSnapshotContents},
		{staging(before), staging(now)},
		{before.StorageClasses, now.StorageClasses},
	}
	for _, kind := range kinds {
		if !slices.Equal(kind[0], kind[1]) {
			return fmt.Sprintf("%v instead of %v", kind[1], kind[0])
		}
	}
	if extra := len(now.StorageSnapshots) - len(before.StorageSnapshots); extra != more {
		return fmt.Sprintf("%d snapshots more in the storage instead of %d: %v", extra, more, now.StorageSnapshots)
	}
	return ""
}

// staging are the claims in the staging namespace.
func staging(l testbed.Leftovers) []string {
	return slices.DeleteFunc(slices.Clone(l.Claims), func(claim string) bool { return !strings.HasPrefix(claim, "velero/") })
}

// clientFor is a client with the rights of config.
func clientFor(t *testing.T, config *rest.Config) *kube.Client {
	t.Helper()
	client, err := kube.New(config, kube.Options{QPS: 50, Burst: 100})
	require.NoError(t, err)
	return client
}
