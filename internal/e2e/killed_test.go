package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const killsBucket = "kills"

// killed is a Velero whose requests, and those of its plugin, can be held.
type killed struct {
	*testing.T
	s3      *testbed.S3
	cluster *testbed.Cluster
	server  *testbed.VeleroServer
	api     *holdingProxy
	objects *holdingProxy
	plugin  string          // the path of the program
	before  map[string]bool // the snapshots in the storage before the backups
	records map[string]bool // the StorageClasses of restores so far
	// undecided are those with a volume of which no program can tell who knows it.
	undecided []string
}

// TestKilled kills Velero and its plugin, or the plugin alone, with SIGKILL at each step of
// backups, restores and deletions. Then the books of the cluster, the storage and the
// bucket are compared: nothing that a stored list names is lost, and nothing else is left.
func TestKilled(t *testing.T) {
	t.Parallel()
	k := startKilled(t)
	volumes := k.applications()
	backups := map[string]string{"good": "not-asked-for", "grouped": "group-taken", "also-grouped": "group-not-asked-for"}
	for i, p := range deletionPlaces {
		backups["del-"+p.name] = backupPlaces[i+1].name
		if p.group {
			backups["del-"+p.name] = backupPlaces[len(backupPlaces)-len(deletionPlaces)+i].name // of a group, too
		}
	}
	k.backUp(backups)

	for _, step := range []struct {
		name string
		do   func()
	}{
		{"Velero is killed", func() { k.killServer(volumes) }},
		{"the plugin is killed", func() { k.killPlugin(volumes) }},
		{"what is left is swept", k.sweepAll},
		{"the books are compared", k.requireBooks},
		{"all is deleted", k.deleteAll},
		{"what that left is swept", k.sweepAll},
		{"nothing is left", k.requireNothing},
	} {
		began := time.Now()
		step.do()
		t.Logf("%s: %s", step.name, time.Since(began).Round(100*time.Millisecond))
	}
}

// startKilled starts all that is needed. The driver takes groups.
func startKilled(t *testing.T) *killed {
	t.Helper()
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{killsBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	transport, err := rest.TransportFor(cluster.Config)
	require.NoError(t, err)
	program, err := testbed.Plugin.Path(t.Context())
	require.NoError(t, err)
	k := &killed{T: t, s3: s3, cluster: cluster, records: map[string]bool{}, plugin: filepath.Join(bed.Dir(), "cluster-velero-plugins", filepath.Base(program))}
	k.api = newHoldingProxy(t, cluster.Config.Host, transport, true)
	k.objects = newHoldingProxy(t, s3.Endpoint, http.DefaultTransport, false)
	k.server, err = bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{
		S3: s3, Bucket: killsBucket, Env: []string{"KUBECONFIG=" + testbed.Kubeconfig(t, k.api.URL)},
		BackupConfig: map[string]string{"s3Url": k.objects.URL}, SnapshotConfig: map[string]string{"errorGracePeriod": "1s"},
		ServerArgs: []string{"--concurrent-backups=8", "--item-operation-sync-frequency=1s"},
	})
	require.NoError(t, err)
	require.NoError(t, cluster.Apply(t.Context(), `{apiVersion: groupsnapshot.storage.k8s.io/v1, kind: VolumeGroupSnapshotClass, metadata: {name: groups}, driver: `+testbed.DriverName+`, deletionPolicy: Delete}`))
	return k
}

// applications makes a namespace with claims for each place of a backup. It returns the
// handles of their volumes.
func (k *killed) applications() (volumes map[string][]string) {
	k.Helper()
	claims := []testbed.ClaimOptions{}
	for _, p := range backupPlaces {
		claims = append(claims, testbed.ClaimOptions{Namespace: p.name, Name: "data-0"})
		if p.group {
			grouped := map[string]string{"velero.io/volume-group": "database"}
			claims[len(claims)-1].Labels = grouped
			claims = append(claims, testbed.ClaimOptions{Namespace: p.name, Name: "data-1", Labels: grouped})
		}
	}
	made := make([]*corev1.PersistentVolumeClaim, len(claims))
	var group errgroup.Group
	group.SetLimit(8)
	for i, o := range claims {
		require.NoError(k, k.cluster.CreateNamespace(k.Context(), o.Namespace))
		group.Go(func() (err error) {
			made[i], err = k.cluster.CreateClaim(k.Context(), o)
			return err
		})
	}
	require.NoError(k, group.Wait())
	volumes = map[string][]string{}
	for _, claim := range made {
		volumes[claim.Namespace] = append(volumes[claim.Namespace], handleOf(k.T, k.cluster, claim))
	}
	return volumes
}

func (k *killed) create(kind, plural, name string, spec map[string]any) {
	k.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "velero.io/v1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": "velero"}, "spec": spec,
	}}
	_, err := k.server.Objects(plural).Create(k.Context(), object, metav1.CreateOptions{})
	require.NoError(k, err)
}

// createBackup makes a backup, and waits until Velero has begun with it: of several that
// are new at the same time Velero leaves some in its queue for a minute.
func (k *killed) createBackup(name, namespace string) {
	k.Helper()
	k.create("Backup", "backups", name, map[string]any{
		"includedNamespaces": []any{namespace}, "storageLocation": testbed.DefaultLocation, "ttl": "720h",
		"volumeSnapshotLocations": []any{testbed.DefaultLocation},
	})
	require.NoError(k, testbed.Poll(k.Context(), waitLimit, "backup "+name+" to begin", func(ctx context.Context) (bool, string, error) {
		status, err := k.server.Status(ctx, "backups", name)
		phase, _ := status["phase"].(string)
		return err == nil && !slices.Contains([]string{"", "New", "Queued", "ReadyToStart"}, phase), phase, err
	}))
}

// backUp makes backups, by their names, of namespaces.
func (k *killed) backUp(namespaces map[string]string) {
	k.Helper()
	for name, namespace := range namespaces {
		k.createBackup(name, namespace)
	}
	for name := range namespaces {
		require.NoError(k, k.server.WaitBackup(k.Context(), name, waitLimit))
	}
}

func (k *killed) restore(name, backup string) {
	k.Helper()
	k.create("Restore", "restores", name, map[string]any{"backupName": backup, "namespaceMapping": map[string]any{k.namespaceOf(backup): name}})
}

func (k *killed) namespaceOf(backup string) string {
	k.Helper()
	object, err := k.server.Objects("backups").Get(k.Context(), backup, metav1.GetOptions{})
	require.NoError(k, err)
	namespaces, _, err := unstructured.NestedStringSlice(object.Object, "spec", "includedNamespaces")
	require.NoError(k, err)
	return namespaces[0]
}

func (k *killed) delete(backup string) {
	k.Helper()
	k.create("DeleteBackupRequest", "deletebackuprequests", fmt.Sprintf("%s-%d", backup, time.Now().UnixNano()), map[string]any{"backupName": backup})
}

// hold has a request held that has a name in it.
func (k *killed) hold(at place, s3 bool, name string) *held {
	at.what, at.of = strings.ReplaceAll(at.what, "NAME", name), strings.ReplaceAll(at.of, "NAME", name)
	if s3 {
		return k.objects.hold(at)
	}
	return k.api.hold(at)
}

// end lets go of all requests that are held, with or without carrying them out.
func (k *killed) end(drop bool) {
	k.api.end(drop)
	k.objects.end(drop)
}

// killServer kills Velero with all of its plugins, several times, each time while some
// backups, a restore and a deletion are under way.
func (k *killed) killServer(volumes map[string][]string) {
	k.Helper()
	some := (len(backupPlaces) + len(deletionPlaces) - 1) / len(deletionPlaces)
	rounds := slices.Collect(slices.Chunk(backupPlaces, some))
	for i := range deletionPlaces {
		var checks []func()
		if i < len(rounds) {
			checks = append(checks, k.backUpUntilHeld("s-", rounds[i], volumes))
		}
		if i < len(restorePlaces) {
			checks = append(checks, k.restoreUntilHeld("s-", restorePlaces[i], "Failed"))
		} else if i == len(restorePlaces) {
			checks = append(checks, k.restoreUntilFollowed())
		}
		checks = append(checks, k.deleteUntilHeld(deletionPlaces[i]))
		began := time.Now()
		require.NoError(k, k.server.Kill())
		k.end(true)
		k.normal()
		require.NoError(k, k.server.Start(k.Context()))
		for _, check := range checks {
			check()
		}
		k.Logf("kill %d of Velero: all is as it should be after %s", i+1, time.Since(began).Round(100*time.Millisecond))
	}
}

// slowVolume has the driver take so long for the next volume that it is surely not made
// when its restore is looked at.
func (k *killed) slowVolume() {
	k.Helper()
	rule := testbed.DriverRule{Method: "CreateVolume", Delay: "10s", Times: 1}
	require.NoError(k, k.cluster.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{rule}}))
}

// normal ends what slowVolume and restoreUntilFollowed have begun.
func (k *killed) normal() {
	k.Helper()
	require.NoError(k, k.cluster.ControlDriver(testbed.DriverControl{}))
	require.NoError(k, k.cluster.Process(testbed.KubeControllerManager.Name).Signal(syscall.SIGCONT))
}

// backUpUntilHeld begins a backup for each place. It returns when all are held there, with
// what is to be looked at when the processes have been killed.
func (k *killed) backUpUntilHeld(prefix string, places []backupPlace, volumes map[string][]string) (check func()) {
	k.Helper()
	k.before = snapshotsIn(k.T, k.cluster)
	holds := map[string]*held{}
	for _, p := range places {
		holds[p.name] = k.hold(p.place, p.s3, prefix+p.name+"-x")
		k.createBackup(prefix+p.name+"-x", p.name)
	}
	for _, p := range places {
		holds[p.name].await(k.T)
		k.requireState(p.now, prefix+p.name+"-x", volumes[p.name])
	}
	return func() {
		for _, p := range places {
			want := []string{cmp.Or(p.phase, "Failed")}
			if prefix == "p-" && p.phase == "" { // by the moment at which Velero sees that its plugin is gone
				want = append(want, "PartiallyFailed")
			}
			_, err := k.server.WaitPhase(k.Context(), "backups", prefix+p.name+"-x", waitLimit, want...)
			require.NoError(k, err)
		}
	}
}

// restoreUntilHeld begins a restore, likewise.
func (k *killed) restoreUntilHeld(prefix string, p restorePlace, ends ...string) (check func()) {
	k.Helper()
	if !p.volume {
		k.slowVolume()
	}
	name := prefix + "restore-" + p.name + "-x"
	h := k.hold(p.place, false, name)
	k.restore(name, "good")
	h.await(k.T)
	k.requireRestore(p, name)
	return func() {
		_, err := k.server.WaitPhase(k.Context(), "restores", name, waitLimit, ends...)
		require.NoError(k, err)
	}
}

// restoreUntilFollowed begins a restore, and returns when Velero waits for its claim.
func (k *killed) restoreUntilFollowed() (check func()) {
	k.Helper()
	const name = "restore-followed-x"
	h := k.hold(place{method: "POST", what: "persistentvolumeclaims", of: name, velero: true}, false, name)
	k.restore(name, "good")
	h.await(k.T)
	require.NoError(k, k.cluster.Process(testbed.KubeControllerManager.Name).Signal(syscall.SIGSTOP))
	k.api.end(false, h)
	_, err := k.server.WaitPhase(k.Context(), "restores", name, waitLimit, "WaitingForPluginOperations")
	require.NoError(k, err)
	return func() {
		require.NoError(k, k.server.WaitRestore(k.Context(), name, waitLimit))
		_, err := k.cluster.WaitBound(k.Context(), name, "data-0")
		require.NoError(k, err)
	}
}

// deleteUntilHeld begins a deletion, likewise. Velero does not go on with one that its
// death has ended: it has to be asked for again.
func (k *killed) deleteUntilHeld(p deletionPlace) (check func()) {
	k.Helper()
	backup := "del-" + p.name
	taken := k.listed(backup)
	h := k.hold(p.place, p.s3, backup)
	k.delete(backup)
	h.await(k.T)
	k.requireDeletion(p, backup, taken)
	return func() {
		k.delete(backup)
		requireBackupGone(k.T, k.server, backup)
		k.requireGone(taken)
	}
}

// killPlugin kills the plugin processes, while Velero goes on.
func (k *killed) killPlugin(volumes map[string][]string) {
	k.Helper()
	for places := range slices.Chunk(backupPlaces, 4) {
		check := k.backUpUntilHeld("p-", places, volumes)
		k.endPlugins()
		k.end(true)
		check()
	}

	for _, record := range k.ours(objectsOfCalls[2]) { // of the restores before
		k.records[record.GetName()] = true
	}
	for _, p := range restorePlaces {
		p.undecided = p.undecided && !p.velero // else Velero goes on, and makes the PersistentVolume
		check := k.restoreUntilHeld("p-", p, "Completed", "PartiallyFailed", "Failed")
		k.endPlugins()
		k.end(!p.velero)
		k.normal()
		check()
	}
}

// endPlugins kills the plugin processes of Velero.
func (k *killed) endPlugins() {
	k.Helper()
	ended := 0
	for pid, parent := range processesOf(k.T, k.plugin) {
		if parent == k.server.PID() {
			if err := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) { // those that ask for backups now and then end by themselves
				require.NoError(k, err)
				ended++
			}
		}
	}
	require.NotZero(k, ended)
}
