package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// here is something that a backup needs and this cluster or its storage does not
// have, and what verify has to say of it.
type here struct {
	id      string // of the snapshot
	change  func(*backuptest.Backup)
	driver  testbed.DriverControl
	step    string
	outcome check.Outcome
	says    string
}

const (
	stepKinds    = "served kinds"
	stepClaims   = "claims' classes"
	stepRestore  = "restore of snapshots"
	stepSnapshot = "stored snapshots"
	stepFeatures = "Velero's features"
)

// verify verifies a backup of one snapshot, which the storage does have, and then
// one after the other with all that may be wrong. Nothing is left of it.
func (i *installed) verify(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	alone(t)
	require.NoError(t, i.CreateNamespace(t.Context(), "shop"))
	i.configure(shortGrace)
	defer i.configure("null")
	defer func() { require.NoError(t, i.ControlDriver(testbed.DriverControl{})) }()
	require.NoError(t, i.Apply(t.Context(), secretiveClass))
	s, pv := i.source()
	id := i.take(s, pv)
	require.NoError(t, i.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: "1h"}))
	late := i.take(s, pv)
	require.NoError(t, i.ControlDriver(testbed.DriverControl{}))
	before, err := i.Leftovers(t.Context())
	require.NoError(t, err)

	i.verifyGood(id)
	t.Run("CronJob", func(t *testing.T) { (&installed{t, i.Cluster, i.s3}).cronJob(id) })
	i.as(before)
	for name, h := range i.lacking(id, late) {
		t.Run(name, func(t *testing.T) {
			i := &installed{t, i.Cluster, i.s3}
			require.NoError(t, i.ControlDriver(h.driver))
			b := backupOf(h.id)
			if h.change != nil {
				h.change(b)
			}
			status := exitOK
			if h.outcome == check.Failed {
				status = exitFailed
			}
			step := i.verified(status, b)[h.step]
			require.Equal(t, h.outcome, step.Outcome, "%+v", step)
			require.Contains(t, step.Detail, h.says)
			if h.outcome != check.OK {
				require.NotEmpty(t, step.Hint)
			}
			i.as(before)
		})
	}
	require.NoError(t, i.ControlDriver(testbed.DriverControl{}))
	i.verifyElsewhere(id)
	i.as(before)
	t.Run("features", func(t *testing.T) { (&installed{t, i.Cluster, i.s3}).verifyFeatures(id) })
	t.Run("deleting", func(t *testing.T) { (&installed{t, i.Cluster, i.s3}).verifyDeleting(id) })
	i.as(before)
	i.verifyVolumes(id)
	i.as(before)
	i.verifyInterrupted(id)
	i.as(before)
	for _, one := range []string{id, late} {
		require.NoError(t, s.DeleteSnapshot(t.Context(), one))
	}
}

func (i *installed) verifyGood(id string) {
	i.Helper()
	steps := i.verified(exitOK, backupOf(id))
	for _, step := range steps {
		require.Equal(i, check.OK, step.Outcome, "%+v", step)
	}
	require.Contains(i, steps[stepSnapshot].Detail, "1 snapshot is there, ready, of the right size")
	calls, err := i.DriverCalls()
	require.NoError(i, err)
	stored, _, err := snapshotter.ReadID(id)
	require.NoError(i, err)
	asked := slices.ContainsFunc(calls, func(c testbed.DriverCall) bool {
		return c.Method == "ListSnapshots" && c.SnapshotID != stored.Handle && len(c.SnapshotID) == len(stored.Handle)
	})
	require.True(i, asked, "the driver was asked for a snapshot that nobody has taken")
	steps = i.verified(exitOK, backupOf(id), "--no-cluster")
	require.NotContains(i, steps, stepSnapshot)
	steps = i.verified(exitOK, backupOf(id), "--no-archive")
	require.Equal(i, check.Skipped, steps[stepKinds].Outcome)
	require.Equal(i, check.Skipped, steps[stepClaims].Outcome)
	require.Equal(i, check.OK, steps[stepSnapshot].Outcome)
}

// verifyElsewhere has a good backup of another cluster: with a driver, a StorageClass and a
// kind that this one does not have.
func (i *installed) verifyElsewhere(id string) {
	i.Helper()
	b := backupOf(strings.Replace(id, testbed.DriverName, "elsewhere.example.com", 1))
	spec("volumeType", "elsewhere")(b)
	add(b, "example.com/v1", "Widget", "widgets.example.com", "w")
	steps := i.verified(exitFailed, b)
	for name, says := range map[string]string{
		stepKinds: "widgets.example.com is not served here", stepRestore: "CSI driver elsewhere.example.com is not installed",
	} {
		require.Equal(i, check.Failed, steps[name].Outcome, "%+v", steps[name])
		require.Contains(i, steps[name].Detail, says)
	}
	require.Equal(i, check.OK, steps["archive"].Outcome, "by itself it is good")
}

// verifyFeatures has a backup with a volume that Velero took a snapshot of itself, and one
// with a volume that a data mover saved, which Velero restores with EnableCSI alone.
func (i *installed) verifyFeatures(id string) {
	i.Helper()
	defer i.args(`["server","--features="]`)
	taken := func(b *backuptest.Backup) {
		b.Lists["-volumeinfo.json.gz"] = append(b.Lists["-volumeinfo.json.gz"].([]any), map[string]any{
			"pvcName": "own", "pvcNamespace": "shop", "pvName": "pvc-4", "backupMethod": "CSISnapshot", "result": "succeeded",
			"csiSnapshotInfo": map[string]any{"snapshotHandle": "h", "driver": "nobody.example"},
		})
	}
	for _, change := range []func(*backuptest.Backup){taken, movedBy("")} {
		i.args(`["server","--features="]`)
		b := backupOf(id)
		change(b)
		step := i.verified(exitFailed, b, "--no-archive")[stepFeatures]
		require.Equal(i, check.Failed, step.Outcome, "%+v", step)
		require.Contains(i, step.Detail, "would come back empty")
		require.Contains(i, step.Hint, "put EnableCSI back")
		i.args(`["server","--features=EnableCSI"]`)
		require.Equal(i, check.OK, i.stepOf(b, stepFeatures).Outcome)
	}
}

// stepOf is one step about a backup, whatever came of the others.
func (i *installed) stepOf(b *backuptest.Backup, step string) check.Result {
	i.Helper()
	i.put(b.Objects(i.T))
	var out, errs bytes.Buffer
	Run([]string{"verify", b.Name, "-o", "json", "--no-archive", "--kubeconfig", i.Kubeconfig}, "test", &out, &errs)
	var told struct {
		Backups []struct{ Steps []check.Result }
	}
	require.NoError(i, json.Unmarshal(out.Bytes(), &told), errs.String())
	return byName(told.Backups[0].Steps)[step]
}

// verifyDeleting has Velero delete the snapshots of a backup, and then its objects, while
// all backups are verified.
func (i *installed) verifyDeleting(id string) {
	i.Helper()
	stored, _, err := snapshotter.ReadID(id)
	require.NoError(i, err)
	i.put(backupOf(strings.Replace(id, stored.Handle, stored.Handle+"0", 1)).Objects(i.T))
	i.put(backuptest.New("another").Objects(i.T))
	steps := func() map[string]check.Result {
		var told struct {
			Backups []struct{ Steps []check.Result }
		}
		require.NoError(i, json.NewDecoder(strings.NewReader(i.run(exitFailed, "verify", "--all", "-o", "json"))).Decode(&told))
		require.Len(i, told.Backups, 2)
		return byName(told.Backups[1].Steps)
	}
	require.Equal(i, check.Failed, steps()[stepSnapshot].Outcome)
	require.NoError(i, i.Apply(i.Context(), `{apiVersion: velero.io/v1, kind: Backup, metadata: {name: nightly, namespace: velero}, spec: {}, status: {phase: Deleting}}`))
	i.Cleanup(func() {
		err := i.Kube.CoreV1().RESTClient().Delete().AbsPath("/apis/velero.io/v1/namespaces/velero/backups/nightly").Do(context.Background()).Error()
		require.NoError(i, err)
	})
	step := steps()[stepSnapshot]
	require.Equal(i, check.Skipped, step.Outcome, "%+v", step)
	require.Contains(i, step.Detail, "Velero deletes this backup")
}

// verifyVolumes has a volume made from a snapshot, and from one that is gone.
func (i *installed) verifyVolumes(id string) {
	i.Helper()
	i.configure("null") // a restore may take its time
	step := i.verified(exitOK, backupOf(id), "--restore-volumes")["restored volumes"]
	require.Equal(i, check.OK, step.Outcome, "%+v", step)
	stored, _, err := snapshotter.ReadID(id)
	require.NoError(i, err)
	calls, err := i.DriverCalls()
	require.NoError(i, err)
	made := slices.IndexFunc(calls, func(c testbed.DriverCall) bool {
		return c.Method == "CreateVolume" && c.SourceSnapshot == stored.Handle
	})
	require.GreaterOrEqual(i, made, 0, "the driver made a volume from the snapshot")
	require.True(i, slices.ContainsFunc(calls, func(c testbed.DriverCall) bool {
		return c.Method == "DeleteVolume" && c.VolumeID == calls[made].ResultID && c.Code == "OK"
	}), "and deleted it")

	i.configure(shortGrace)
	step = i.verified(exitFailed, backupOf(strings.Replace(id, stored.Handle, stored.Handle+"0", 1)), "--restore-volumes")["restored volumes"]
	require.Equal(i, check.Failed, step.Outcome, "%+v", step)
	require.Contains(i, step.Detail, "can not find snapshot")
	require.Contains(i, i.run(exitUsage, "verify", "nightly", "--restore-volumes", "--no-cluster"), "--restore-volumes needs a cluster")
}

// verifyInterrupted has a person's Ctrl-C while the driver is asked.
func (i *installed) verifyInterrupted(id string) {
	i.Helper()
	require.NoError(i, i.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{{Method: "ListSnapshots", Delay: "5s"}}}))
	also := make(chan os.Signal, 1)
	signal.Notify(also, os.Interrupt) // else one that came too late would end the tests
	defer signal.Stop(also)
	interrupted := make(chan error, 1)
	go func() {
		err := testbed.Poll(i.Context(), time.Minute, "verify to ask the driver", func(ctx context.Context) (bool, string, error) {
			list, err := i.Snapshots.VolumeSnapshotContents().List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/purpose=restore,longshore.dev/velero=velero"})
			return err == nil && len(list.Items) > 0, "", err
		})
		interrupted <- errors.Join(err, syscall.Kill(os.Getpid(), syscall.SIGINT))
	}()
	steps := i.verified(exitFailed, backupOf(id))
	require.NoError(i, <-interrupted)
	require.Equal(i, "interrupted", steps[stepSnapshot].Detail)
	require.NoError(i, i.ControlDriver(testbed.DriverControl{}))
}

func (i *installed) lacking(id, late string) map[string]here {
	stored, _, err := snapshotter.ReadID(id)
	require.NoError(i, err)
	gone, no := strings.Replace(id, stored.Handle, stored.Handle+"0", 1), false
	widget := func(b *backuptest.Backup) {
		add(b, "example.com/v1", "Widget", "widgets.example.com", "w")
	}
	return map[string]here{
		"snapshot gone":      {id: gone, step: stepSnapshot, outcome: check.Failed, says: "the snapshot of volume pvc-1 is not in the storage any more"},
		"snapshot not ready": {id: late, step: stepSnapshot, outcome: check.Failed, says: "is not ready to be restored"},
		"larger snapshot":    {id: strings.Replace(id, "size=10Gi", "size=5Gi", 1), step: stepSnapshot, outcome: check.Failed, says: "has 10Gi in the storage, and 5Gi by its ID"},
		"smaller snapshot":   {id: strings.Replace(id, "size=10Gi", "size=20Gi", 1), step: stepSnapshot, outcome: check.Warning, says: "has 10Gi in the storage, and 20Gi by its ID"},
		"driver refuses": {id: id, driver: testbed.DriverControl{Rules: []testbed.DriverRule{{Method: "ListSnapshots", Code: "PermissionDenied", Message: "no"}}},
			step: stepSnapshot, outcome: check.Failed, says: "could not be asked for"},
		"driver does not list": {id: id, driver: testbed.DriverControl{ListSnapshots: &no}, step: stepSnapshot, outcome: check.Warning,
			says: "whether 1 snapshot is in the storage cannot be told: driver " + testbed.DriverName + " does not list snapshots"},
		"gone and not listed": {id: gone, driver: testbed.DriverControl{ListSnapshots: &no}, step: stepSnapshot, outcome: check.Warning, says: "cannot be told"},
		"driver rejects other handles": {id: id, driver: testbed.DriverControl{Rules: []testbed.DriverRule{
			{Method: "ListSnapshots", Match: stored.Handle, Delay: "1ms"}, {Method: "ListSnapshots", Code: "InvalidArgument", Message: "no handle of ours"},
		}}, step: stepSnapshot, outcome: check.OK, says: "1 snapshot is there"},
		"driver fails for others": {id: id, driver: testbed.DriverControl{Rules: []testbed.DriverRule{
			{Method: "ListSnapshots", Match: stored.Handle, Delay: "1ms"}, {Method: "ListSnapshots", Code: "PermissionDenied", Message: "no"},
		}}, step: stepSnapshot, outcome: check.Warning, says: "does not say that one which nobody has taken is missing"},
		"other plugin": {id: "snap-0123", step: stepSnapshot, outcome: check.Warning, says: "1 snapshot is not this plugin's"},

		"location gone":    {id: id, change: spec("location", "elsewhere"), step: stepRestore, outcome: check.Failed, says: `there is no "elsewhere", only default`},
		"driver gone":      {id: strings.Replace(id, testbed.DriverName, "gone.example.com", 1), step: stepRestore, outcome: check.Failed, says: "CSI driver gone.example.com is not installed"},
		"class missing":    {id: id, change: spec("volumeType", "nosuch"), step: stepRestore, outcome: check.Failed, says: `no StorageClass "nosuch"`},
		"secret missing":   {id: id, change: spec("volumeType", "secretive"), step: stepRestore, outcome: check.Failed, says: "Secret velero/maker, which the StorageClass names"},
		"look-up secret":   {id: id + "&listSecret=velero/lister", step: stepRestore, outcome: check.Failed, says: "no VolumeSnapshotClass of driver " + testbed.DriverName + " names one"},
		"kind not served":  {id: id, change: widget, step: stepKinds, outcome: check.Failed, says: "widgets.example.com is not served here as example.com/v1: 1 item"},
		"kind brought":     {id: id, change: both(widget, definition), step: stepKinds, outcome: check.OK, says: "or defined by the backup (1)"},
		"old version":      {id: id, change: oldDeployment, step: stepKinds, outcome: check.Failed, says: "deployments.apps is not served here as apps/v1beta1"},
		"several versions": {id: id, change: both(oldDeployment, newDeployment), step: stepKinds, outcome: check.Warning, says: "only as apps/v1"},
		"claim's class": {id: id, change: func(b *backuptest.Backup) {
			add(b, "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "files", "storageClassName", "nosuch")
		}, step: stepClaims, outcome: check.Warning, says: "StorageClass nosuch is not in this cluster; claim shop/files names nosuch"},
	}
}

// secretiveClass names a Secret that nobody made.
const secretiveClass = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: secretive}
provisioner: ` + testbed.DriverName + `
parameters:
  csi.storage.k8s.io/provisioner-secret-name: maker
  csi.storage.k8s.io/provisioner-secret-namespace: velero
`

func both(a, b func(*backuptest.Backup)) func(*backuptest.Backup) {
	return func(x *backuptest.Backup) { a(x); b(x) }
}

// add adds an item with the given fields, as name and value.
func add(b *backuptest.Backup, version, kind, resource, name string, fields ...string) {
	spec := map[string]any{}
	for i := 0; i < len(fields); i += 2 {
		spec[fields[i]] = fields[i+1]
	}
	namespace := "shop"
	if kind == "CustomResourceDefinition" {
		namespace = ""
	}
	b.AddItem(version, kind, resource, namespace, name, spec)
	b.Status()["progress"] = nil
}

func definition(b *backuptest.Backup) {
	add(b, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions.apiextensions.k8s.io", "widgets.example.com")
}

func oldDeployment(b *backuptest.Backup) {
	add(b, "apps/v1beta1", "Deployment", "deployments.apps", "web")
}

// newDeployment keeps the Deployment in another version of its API too.
func newDeployment(b *backuptest.Backup) {
	old := b.Files["resources/deployments.apps/namespaces/shop/web.json"]
	b.Files["resources/deployments.apps/v1/namespaces/shop/web.json"] = strings.Replace(old, "apps/v1beta1", "apps/v1", 1)
}

// spec sets a field of the snapshot in the list of snapshots.
func spec(field, value string) func(*backuptest.Backup) {
	return func(b *backuptest.Backup) {
		b.First("-volumesnapshots.json.gz")["spec"].(map[string]any)[field] = value
	}
}

// backupOf is a good backup of volume pvc-1 with the snapshot.
func backupOf(id string) *backuptest.Backup {
	b := backuptest.New("nightly")
	snapshotID(id)(b)
	spec("volumeType", testbed.ClassImmediate)(b)
	return b
}

// verified stores a backup, verifies it and returns the steps about it.
func (i *installed) verified(status int, b *backuptest.Backup, args ...string) map[string]check.Result {
	i.Helper()
	client, err := i.s3.Client()
	require.NoError(i, err)
	objects := b.Objects(i.T)
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		_, err := client.Client.PutObject(i.Context(), storedIn, key, bytes.NewReader(objects[key]), int64(len(objects[key])), minio.PutObjectOptions{})
		require.NoError(i, err)
	}
	var told struct {
		Backups []struct{ Steps []check.Result }
	}
	out := i.run(status, append([]string{"verify", b.Name, "-o", "json"}, args...)...)
	require.NoError(i, json.NewDecoder(strings.NewReader(out)).Decode(&told)) // messages follow
	for key := range objects {
		require.NoError(i, client.RemoveObject(i.Context(), storedIn, key, minio.RemoveObjectOptions{}))
	}
	return byName(told.Backups[0].Steps)
}

// source is a Snapshotter and a volume to take snapshots of.
func (i *installed) source() (s *snapshotter.Snapshotter, pv []byte) {
	i.Helper()
	claim, err := i.CreateClaim(i.Context(), testbed.ClaimOptions{Namespace: "shop", Name: "data", Size: "10Gi", Class: testbed.ClassImmediate})
	require.NoError(i, err)
	volume, err := i.Kube.CoreV1().PersistentVolumes().Get(i.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	require.NoError(i, err)
	cluster, err := check.NewCluster(i.Config, "velero")
	require.NoError(i, err)
	log, _ := test.NewNullLogger()
	s, err = snapshotter.OpenOn(cluster.Kube, "velero", log, map[string]string{"sweepAfter": "0", "waitFor": "handle"})
	require.NoError(i, err)
	pv, err = json.Marshal(volume)
	require.NoError(i, err)
	return s, pv
}

// take takes a snapshot, whose ID names pvc-1 as its volume.
func (i *installed) take(s *snapshotter.Snapshotter, pv []byte) string {
	i.Helper()
	volume, err := s.GetVolumeID(i.Context(), pv)
	require.NoError(i, err)
	id, err := s.CreateSnapshot(i.Context(), volume, "", nil)
	require.NoError(i, err)
	stored, _, err := snapshotter.ReadID(id)
	require.NoError(i, err)
	return strings.Replace(id, "pv="+stored.PV, "pv=pvc-1", 1)
}

// shortGrace has a driver's error end a wait soon.
const shortGrace = `{"errorGracePeriod": "300ms"}`

// configure sets the config of the volume snapshot location.
func (i *installed) configure(config string) {
	i.Helper()
	err := i.Kube.CoreV1().RESTClient().Patch(types.MergePatchType).AbsPath("/apis/velero.io/v1/namespaces/velero/volumesnapshotlocations/default").
		Body([]byte(`{"spec": {"config": ` + config + `}}`)).Do(i.Context()).Error()
	require.NoError(i, err)
}
