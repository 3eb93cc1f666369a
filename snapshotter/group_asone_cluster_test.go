package snapshotter

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/objects"
)

// servesGroups tells whether the cluster has the API of group snapshots: all have but
// those of the matrix with older parts.
func (b *bench) servesGroups() bool {
	b.Helper()
	api, err := b.kube.GroupSnapshots(b.Context())
	require.NoError(b, err)
	if os.Getenv(testbed.MatrixVariable) == "" {
		require.NotNil(b, api)
	}
	return api != nil
}

// takesGroups gives the driver a VolumeGroupSnapshotClass for the length of the test.
func (b *bench) takesGroups() {
	b.Helper()
	if !b.servesGroups() {
		b.Skip("this row of the matrix has no group snapshots")
	}
	require.NoError(b, b.Apply(b.Context(), `{apiVersion: groupsnapshot.storage.k8s.io/v1, kind: VolumeGroupSnapshotClass, metadata: {name: hostpath}, driver: `+testbed.DriverName+`, deletionPolicy: Delete}`))
	classes := b.Dynamic.Resource(schema.GroupVersionResource{Group: "groupsnapshot.storage.k8s.io", Version: "v1", Resource: "volumegroupsnapshotclasses"})
	b.Cleanup(func() { require.NoError(b, classes.Delete(b.background(), "hostpath", metav1.DeleteOptions{})) })
}

// groupContents are those of this Velero's calls.
func (b *bench) groupContents(ctx context.Context) []*kube.GroupSnapshotContent {
	b.Helper()
	api, err := b.kube.GroupSnapshots(ctx)
	require.NoError(b, err)
	require.NotNil(b, api)
	all, err := api.Contents.List(ctx, b.owner.Selector())
	require.NoError(b, err)
	return all
}

// soonNoGroupContents demands that no content of a group is left, which a call may have
// left to csi-snapshotter.
func (b *bench) soonNoGroupContents() {
	b.Helper()
	require.NoError(b, testbed.Poll(b.Context(), time.Minute, "the contents of groups to go", func(ctx context.Context) (bool, string, error) {
		left := b.groupContents(ctx)
		return len(left) == 0, fmt.Sprint(left), nil
	}))
}

// driverCalls counts the driver's calls of a method.
func (b *bench) driverCalls(method string) (count int) {
	b.Helper()
	calls, err := b.DriverCalls()
	require.NoError(b, err)
	for _, call := range calls {
		if call.Method == method {
			count++
		}
	}
	return count
}

func (b *bench) groupOfID(snapshot string) ids.Group {
	b.Helper()
	id, err := ids.ParseSnapshotID(snapshot)
	require.NoError(b, err)
	return id.Group
}

// TestClusterGroupAsOne: a driver that takes groups takes the snapshots of a group as one.
// Each can be restored by itself. Deleting the snapshots of a backup deletes its group,
// once, with the member that Velero never asked for, and no other backup's.
func TestClusterGroupAsOne(t *testing.T) {
	config := map[string]string{"errorGracePeriod": "4s", "groups": GroupsRequire}
	b := onCluster(t, config)
	b.defineVelero()
	b.takesGroups()
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two", "three")
	singles := b.driverCalls("CreateSnapshot")
	backup, other := b.backsUp(veleroGroup), b.backsUp(veleroGroup)
	kept := b.snapshotOf(pvs[1], other)
	first := b.snapshotOf(pvs[0], backup)
	b.onlySnapshots(before, 6)
	b.soonNoGroupContents()
	b.write("two", "later")
	b.Snapshotter = b.open(config) // as if the plugin had died
	second := b.snapshotOf(pvs[1], backup)
	require.Equal(t, singles, b.driverCalls("CreateSnapshot"))
	require.Len(t, b.groupOfID(second).Members, 3)
	require.Equal(t, b.groupOfID(first), b.groupOfID(second))

	_, content := b.restoreAs(b.Snapshotter, second, pvs[1], "restored")
	require.Equal(t, "first", content)
	b.soonOnlySnapshots(before, 6)
	b.soonNoGroupContents()

	stored := []string{first, second}
	require.NoError(t, b.NoteStored(t.Context(), backup, stored))
	require.Len(t, b.writtenFor(backup), 1)
	b.endsAs(backup, phaseCompleted)
	_, _ = b.later().WithLists(storedList{ids: stored, stored: true}).Sweep(t.Context())
	require.Empty(t, b.writtenFor(backup))
	b.onlySnapshots(before, 6)

	deletions := b.driverCalls("DeleteVolumeGroupSnapshot")
	b.requireDeleted(stored...)
	require.Equal(t, deletions+1, b.driverCalls("DeleteVolumeGroupSnapshot"))
	b.onlySnapshots(before, 3)
	_, content = b.restoreAs(b.Snapshotter, kept, pvs[1], "kept")
	require.Equal(t, "first", content)
	b.requireDeleted(b.writtenFor(other)...)
	b.requireDeleted(stored...)
	b.soonOnlySnapshots(before, 0)
	b.soonNoGroupContents()
}

// withOlderGroups has the Snapshotter talk to a cluster that serves v1beta2 of group
// snapshots alone.
func (b *bench) withOlderGroups() {
	b.Helper()
	const group = "groupsnapshot.storage.k8s.io"
	forward := b.apiProxy().forward
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/apis/"+group:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"kind": "APIGroup", "apiVersion": "v1", "name": "` + group + `", "versions": [{"groupVersion": "` + group + `/v1beta2", "version": "v1beta2"}]}`))
		case strings.HasPrefix(r.URL.Path, "/apis/"+group+"/v1/"):
			http.NotFound(w, r)
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	b.Cleanup(server.CloseClientConnections)
	older := *b.Snapshotter
	older.kube = clientFor(b.T, &rest.Config{Host: server.URL})
	b.Snapshotter = &older
}

// TestClusterGroupDeletion: the deletion of a member fails while the storage still has any
// of its group, and a driver that cannot list snapshots is believed. The cluster serves
// the older version of the API.
func TestClusterGroupDeletion(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "1s"})
	b.defineVelero()
	b.takesGroups()
	b.withOlderGroups()
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two")
	backup := b.backsUp(veleroGroup)
	b.snapshotOf(pvs[0], backup)
	written := b.writtenFor(backup)
	require.Len(t, written, 2)
	id, err := ids.ParseSnapshotID(written[0])
	require.NoError(t, err)
	err = b.requireNoMember(t.Context(), id)
	for _, member := range id.Group.Members {
		require.ErrorContains(t, err, "still has its snapshot "+member)
	}
	b.rule(testbed.DriverRule{Method: "DeleteVolumeGroupSnapshot", Code: "FailedPrecondition", Message: "in use"})
	require.ErrorContains(t, b.DeleteSnapshot(t.Context(), written[0]), "Failed to delete group snapshot")
	b.onlySnapshots(before, 2)

	require.NoError(t, b.ControlDriver(testbed.DriverControl{ListSnapshots: new(bool)}))
	require.NoError(t, b.Process(testbed.CSISnapshotter.Name).Kill())
	require.NoError(t, b.Process(testbed.CSISnapshotter.Name).Restart(t.Context()))
	b.requireDeleted(written...)
	b.normalDriver()
	require.NoError(t, b.Process(testbed.CSISnapshotter.Name).Kill())
	require.NoError(t, b.Process(testbed.CSISnapshotter.Name).Restart(t.Context()))
	b.onlySnapshots(before, 0)
	b.soonNoGroupContents()
}

// TestClusterGroupRefused: where the driver refuses the group, its snapshots are taken
// side by side at once, or not at all.
func TestClusterGroupRefused(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	b.takesGroups()
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two")
	backup := b.backsUp(veleroGroup)
	b.rule(testbed.DriverRule{Method: "CreateVolumeGroupSnapshot", Code: "FailedPrecondition", Message: "not together"})
	b.requireRefused(pvs[0], backup, "not together")
	b.soonOnlySnapshots(before, 0)
	b.soonNoGroupContents()

	began := time.Now()
	first := b.snapshotOf(pvs[0], backup)
	require.Less(t, time.Since(began), b.settings.ErrorGracePeriod)
	require.Empty(t, b.groupOfID(first).Handle)
	written := b.writtenFor(backup)
	require.Len(t, written, 2)
	b.soonOnlySnapshots(before, 2)
	b.soonNoGroupContents()
	b.requireDeleted(written...)
}

// TestClusterGroupFailing: a driver that goes on failing is soon given up for snapshots
// side by side, and asked for longer where they are required as one. What it takes later
// all the same is deleted.
func TestClusterGroupFailing(t *testing.T) {
	b := onCluster(t, map[string]string{"errorGracePeriod": "5s"})
	b.defineVelero()
	b.takesGroups()
	b.groupGrace = time.Second
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two")
	failing := testbed.DriverRule{Method: "CreateVolumeGroupSnapshot", Code: "Internal", Message: "out of order"}
	takesSideBySide := func() []string {
		backup := b.backsUp(veleroGroup)
		began := time.Now()
		require.Empty(t, b.groupOfID(b.snapshotOf(pvs[0], backup)).Handle)
		require.Less(t, time.Since(began), b.settings.SnapshotTimeout/4)
		written := b.writtenFor(backup)
		require.Len(t, written, 2)
		return written
	}

	b.rule(failing)
	written := takesSideBySide()
	b.soonNoGroupContents()
	b.onlySnapshots(before, 2)
	b.requireDeleted(written...)

	failing.Code, failing.After = "DeadlineExceeded", true
	b.rule(failing)
	written = takesSideBySide()
	b.onlySnapshots(before, 4)
	require.Len(t, b.groupContents(t.Context()), 1, "csi-snapshotter has the driver's last word to wait for")
	deletions := b.driverCalls("DeleteVolumeGroupSnapshot")
	b.normalDriver()
	b.snapshotterLooks()
	b.soonOnlySnapshots(before, 2)
	require.Equal(t, deletions+1, b.driverCalls("DeleteVolumeGroupSnapshot"))
	b.requireDeleted(written...)

	backup := b.backsUp(veleroGroup)
	require.NoError(t, b.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{{Method: failing.Method, Code: "Internal", Times: 2}}}))
	s := b.open(map[string]string{"groups": GroupsRequire})
	first, err := s.CreateSnapshot(t.Context(), b.volumeID(pvs[0]), "", map[string]string{tagBackup: backup})
	require.NoError(t, err)
	require.Len(t, b.groupOfID(first).Members, 2)
	b.requireDeleted(b.writtenFor(backup)...)
	b.soonOnlySnapshots(before, 0)
}

// snapshotterLooks has csi-snapshotter ask the driver for groups again, before its own
// time, until no content of one is left. An edit may come between what it reads and
// writes, so there are not many.
func (b *bench) snapshotterLooks() {
	b.Helper()
	api, err := b.kube.GroupSnapshots(b.Context())
	require.NoError(b, err)
	var looked time.Time
	require.NoError(b, testbed.Poll(b.Context(), time.Minute, "the contents of groups to go", func(ctx context.Context) (bool, string, error) {
		left := b.groupContents(ctx)
		if time.Since(looked) > 5*time.Second {
			looked = time.Now()
			for _, content := range left {
				_, _ = api.Contents.Edit(ctx, content, func(*kube.GroupSnapshotContent) (kube.Patch, error) { // it may go meanwhile
					return annotate(map[string]string{"example.com/looked": looked.String()}), nil
				})
			}
		}
		return len(left) == 0, fmt.Sprint(left), nil
	}))
}

func (b *bench) requireRefused(pv *pvType, backup, why string) {
	b.Helper()
	s := b.open(map[string]string{"groups": GroupsRequire})
	s.beginTimeout = b.beginTimeout
	_, err := s.CreateSnapshot(b.Context(), b.volumeID(pv), "", map[string]string{tagBackup: backup})
	require.ErrorContains(b, err, why)
	require.ErrorContains(b, err, "groups: require")
	require.Empty(b, b.writtenFor(backup))
}

// TestClusterGroupNotBegun: a csi-snapshotter that does not act on groups, as one without
// its feature gate, does not hold a backup up.
func TestClusterGroupNotBegun(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	b.takesGroups()
	b.beginTimeout = time.Second
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two")
	backup := b.backsUp(veleroGroup)
	groups := b.driverCalls("CreateVolumeGroupSnapshot")
	snapshotter := b.Process(testbed.CSISnapshotter.Name)
	require.NoError(t, snapshotter.Signal(syscall.SIGSTOP))
	defer func() { require.NoError(t, snapshotter.Signal(syscall.SIGCONT)) }()
	b.requireRefused(pvs[0], backup, "CSIVolumeGroupSnapshot")
	require.Empty(t, b.groupContents(t.Context()))

	taken := make(chan string)
	go func() {
		id, _ := b.CreateSnapshot(t.Context(), b.volumeID(pvs[0]), "", map[string]string{tagBackup: backup})
		taken <- id
	}()
	require.NoError(t, testbed.Poll(t.Context(), time.Minute, "single snapshots to be asked for", func(ctx context.Context) (bool, string, error) {
		contents, err := b.kube.VolumeSnapshotContents.List(ctx, b.owner.Selector())
		return len(contents) == 2, "", err
	}))
	require.NoError(t, snapshotter.Signal(syscall.SIGCONT))
	require.NotEmpty(t, <-taken)
	written := b.writtenFor(backup)
	require.Len(t, written, 2)
	b.onlySnapshots(before, 2)
	require.Equal(t, groups, b.driverCalls("CreateVolumeGroupSnapshot"))
	b.requireDeleted(written...)
}

// TestClusterGroupAsOneKilled: whenever a process is killed that takes a group as one,
// sweeps find it.
func TestClusterGroupAsOneKilled(t *testing.T) {
	b := onCluster(t, nil)
	b.defineVelero()
	b.takesGroups()
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs := b.grouped(veleroGroup, "one", "two")
	inside := b.killsOfGroup(pvs[0], 20*time.Millisecond, 80*time.Millisecond, 160*time.Millisecond, 240*time.Millisecond)
	require.NotZero(t, inside)
	b.sweepAll()
	s := b.later().WithLists(storedList{stored: true})
	s.settings.ErrorGracePeriod = time.Second
	_, err = s.Sweep(t.Context())
	t.Log(err) // of what other tests have left in the journal
	b.soonOnlySnapshots(before, 0)
	b.soonNoGroupContents()
}

// TestClusterWrittenStays: a call that is killed after it has written its snapshots down
// has left their content. Later calls of the backup are given the snapshots, so no sweep
// removes them with it.
func TestClusterWrittenStays(t *testing.T) {
	for _, asOne := range []bool{false, true} {
		t.Run(fmt.Sprintf("as one %t", asOne), func(t *testing.T) {
			b := onCluster(t, map[string]string{"errorGracePeriod": "4s"})
			b.defineVelero()
			before, err := b.Leftovers(t.Context())
			require.NoError(t, err)
			pvs := b.grouped(veleroGroup, "one", "two")
			backup := b.backsUp(veleroGroup)
			if asOne {
				b.takesGroups()
				b.diesHavingWrittenGroup(pvs[0].Name, backup)
			} else {
				b.diesHavingWritten(pvs[1].Name, backup)
			}
			second := b.snapshotOf(pvs[1], backup)
			require.Contains(t, b.writtenFor(backup), second)
			require.NoError(t, b.NoteStored(t.Context(), backup, []string{second}))
			b.sweepAll()
			b.soonNoGroupContents()
			b.onlySnapshots(before, map[bool]int{false: 1, true: 2}[asOne])
			_, content := b.restoreAs(b.Snapshotter, second, pvs[1], "restored")
			require.Equal(t, "first", content)
			b.requireDeleted(append(b.writtenFor(backup), second)...)
			b.soonOnlySnapshots(before, 0)
		})
	}
}

// creationOf is what a call of a backup begins with for a volume of a group.
func (b *bench) creationOf(pv, backup string) creation {
	b.Helper()
	volume, err := b.find(b.Context(), ids.VolumeID{Driver: testbed.DriverName, PV: pv, Handle: b.handleOf(pv)})
	require.NoError(b, err)
	c, err := b.prepareSnapshot(b.Context(), volume, backup, b.backupOf(b.Context(), backup), ids.Keys{})
	require.NoError(b, err)
	c.key = c.groupKey()
	return c
}

func (b *bench) handleOf(pv string) string {
	b.Helper()
	volume, err := b.kube.PersistentVolumes.Get(b.Context(), pv)
	require.NoError(b, err)
	return volume.Spec.CSI.VolumeHandle
}

// diesHavingWritten is a call for one volume that dies when its snapshot is written down.
func (b *bench) diesHavingWritten(pv, backup string) {
	b.Helper()
	c := b.creationOf(pv, backup)
	content, err := c.kube.VolumeSnapshotContents.Create(b.Context(), c.wanted)
	require.NoError(b, err)
	content, err = c.waitTaken(b.Context(), content)
	require.NoError(b, err)
	require.NoError(b, c.writeDown(b.Context(), c.keys.Sign(c.describe(content))))
}

// diesHavingWrittenGroup is a call that dies when the group of a volume is written down.
func (b *bench) diesHavingWrittenGroup(pv, backup string) {
	b.Helper()
	c := b.creationOf(pv, backup)
	of, grouped := c.groupOf()
	require.True(b, grouped)
	members, absent, err := c.members(b.Context(), of)
	require.NoError(b, err)
	require.Empty(b, absent)
	api, all, err := c.groupClasses(b.Context())
	require.NoError(b, err)
	require.Len(b, all, 1)
	g := groupCreation{c, api, all[0], ids.SecretRef{}, members}
	g.call = c.newCall(objects.Group, c.settings.SnapshotTimeout)
	content, err := api.Contents.Create(b.Context(), g.content())
	require.NoError(b, err)
	content, err = g.waitTaken(b.Context(), content)
	require.NoError(b, err)
	taken, err := g.describe(content)
	require.NoError(b, err)
	require.NoError(b, g.writeDown(b.Context(), taken))
}
