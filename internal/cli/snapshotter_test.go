package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// installed is a cluster with Velero installed, but not running, and an S3
// server.
type installed struct {
	*testing.T
	*testbed.Cluster
	s3 *testbed.S3
}

const storedIn = "backups"

func newInstalled(t *testing.T) *installed {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{Zones: []string{"zone-a", "zone-b"}})
	require.NoError(t, err)
	_, err = bed.InstallVelero(t.Context(), cluster, testbed.VeleroOptions{S3: s3, Bucket: storedIn})
	require.NoError(t, err)
	return &installed{t, cluster, s3}
}

// run runs a command against the cluster and wants its exit status.
func (i *installed) run(status int, args ...string) string {
	i.Helper()
	var stdout, stderr bytes.Buffer
	got := Run(append(args, "--kubeconfig", i.Kubeconfig), "test", &stdout, &stderr)
	i.Logf("%s\n%s%s", strings.Join(args, " "), stdout.String(), stderr.String())
	require.Equal(i, status, got)
	return stdout.String() + stderr.String()
}

// steps runs a check and returns the results of its steps by their names.
func (i *installed) steps(status int, args ...string) map[string]check.Result {
	i.Helper()
	var told struct {
		OK    bool           `json:"ok"`
		Steps []check.Result `json:"steps"`
	}
	require.NoError(i, json.Unmarshal([]byte(i.run(status, append(args, "-o", "json")...)), &told))
	require.Equal(i, status == exitOK, told.OK)
	return byName(told.Steps)
}

func byName(results []check.Result) map[string]check.Result {
	steps := map[string]check.Result{}
	for _, r := range results {
		steps[r.Step] = r
	}
	return steps
}

func TestCluster(t *testing.T) {
	i := newInstalled(t)
	t.Run("object store", i.objectStore)
	t.Run("mounted Secret", i.mountedSecret)
	t.Run("good", i.good)
	t.Run("groups", i.groups)
	t.Run("two locations", i.twoLocations)
	t.Run("full", i.full)
	t.Run("full beside volumes of others", i.fullBesideOthers)
	t.Run("interrupted", i.interrupted)
	t.Run("sweep", i.sweep)
	t.Run("verify", i.verify)
	t.Run("orphans", i.orphans)
	t.Run("EnableCSI", i.enableCSI)
	t.Run("settings", i.badSettings)
	t.Run("leases", i.leases)
	t.Run("permissions", i.permissions)
	t.Run("snapshot classes", i.noClass)
	t.Run("not installed", i.nothingInstalled)
}

// objectStore checks the location that velero install made, with the Secret
// that it made.
func (i *installed) objectStore(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "")
	out := i.run(exitOK, "check", "objectstore")
	require.Contains(t, out, "BackupStorageLocation velero/default")
	require.Contains(t, out, "Secret velero/cloud-credentials, key cloud")
	require.Contains(t, out, "It works.")
	require.NotContains(t, out, i.s3.SecretKey)
	keys, err := i.s3.Keys(t.Context(), storedIn, "")
	require.NoError(t, err)
	require.Empty(t, keys)
	require.Contains(t, i.run(exitUsage, "check", "objectstore", "other"), `there is no "other", only default`)
	require.Contains(t, i.run(exitUsage, "check", "objectstore", "-n", "elsewhere"), "there is none")
}

// mountedSecret checks with the Secret that Velero's Deployment mounts, as the Helm
// chart's existingSecret has it, and says so where there is none.
func (i *installed) mountedSecret(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "")
	secrets := i.Kube.CoreV1().Secrets("velero")
	made, err := secrets.Get(t.Context(), "cloud-credentials", metav1.GetOptions{})
	require.NoError(t, err)
	_, err = secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Data: made.Data}, metav1.CreateOptions{})
	require.NoError(t, err)
	defer i.mount("cloud-credentials")
	i.mount("own")
	require.Contains(t, i.steps(exitOK, "check", "objectstore")["credentials"].Detail, "Secret velero/own, key cloud")
	i.mount("gone")
	require.Contains(t, i.run(exitUsage, "check", "objectstore"), "Secret velero/gone")
	i.mount("")
	t.Setenv("AWS_ACCESS_KEY_ID", i.s3.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", i.s3.SecretKey)
	step := i.steps(exitOK, "check", "objectstore")["credentials"]
	require.Equal(t, check.Warning, step.Outcome)
	require.Contains(t, step.Detail, "these are this machine's")
	require.Contains(t, step.Hint, "kubectl exec -n velero deploy/velero")
}

// mount has Velero's Deployment mount a Secret with its credentials; "" none.
func (i *installed) mount(secret string) {
	i.Helper()
	deployments := i.Kube.AppsV1().Deployments("velero")
	require.NoError(i, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		d, err := deployments.Get(i.Context(), "velero", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for n := range d.Spec.Template.Spec.Volumes {
			if v := &d.Spec.Template.Spec.Volumes[n]; v.Name == "cloud-credentials" {
				v.VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
				if secret != "" {
					v.VolumeSource = corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}
				}
			}
		}
		_, err = deployments.Update(i.Context(), d, metav1.UpdateOptions{})
		return err
	}))
}

// twoLocations: of two locations of one provider Velero takes neither by itself.
func (i *installed) twoLocations(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	const path = "/apis/velero.io/v1/namespaces/velero/volumesnapshotlocations"
	const second = `{"apiVersion": "velero.io/v1", "kind": "VolumeSnapshotLocation", "metadata": {"name": "second"}, "spec": {"provider": "longshore.dev/s3-csi"}}`
	require.Equal(t, "backups need not name it", i.steps(exitOK, "check", "snapshotter")["locations"].Detail)
	api := i.Kube.CoreV1().RESTClient()
	require.NoError(t, api.Post().AbsPath(path).Body([]byte(second)).Do(t.Context()).Error())
	defer func() { require.NoError(t, api.Delete().AbsPath(path+"/second").Do(t.Context()).Error()) }()
	step := i.steps(exitOK, "check", "snapshotter", "default")["locations"]
	require.Equal(t, check.Warning, step.Outcome)
	require.Contains(t, step.Detail, "this provider has the locations default, second")
	require.Contains(t, step.Hint, "--default-volume-snapshot-locations=longshore.dev/s3-csi:default")
	i.args(`["server","--features=","--default-volume-snapshot-locations=other:x,longshore.dev/s3-csi:second"]`)
	defer i.args(`["server","--features="]`)
	step = i.steps(exitOK, "check", "snapshotter", "default")["locations"]
	require.Equal(t, check.OK, step.Outcome)
	require.Contains(t, step.Detail, "takes second by default")
}

func (i *installed) good(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	out := i.run(exitOK, "check", "snapshotter")
	require.Contains(t, out, "VolumeSnapshotLocation velero/default")
	steps := i.steps(exitOK, "check", "snapshotter")
	require.Contains(t, steps["CSI drivers"].Detail, testbed.DriverName+" (on 2 nodes)")
	require.Contains(t, steps["readiness"].Detail, testbed.DriverName+": no snapshot has been seen yet")
	require.Contains(t, steps["groups"].Detail, testbed.DriverName+": side by side")
	require.Contains(t, steps["groups"].Detail, "has no VolumeGroupSnapshotClass")
	require.Contains(t, steps["class "+testbed.ClassWaitForFirstConsumer].Detail, "VolumeSnapshotClass "+testbed.SnapshotClass)
	require.Equal(t, "service account velero/velero has all rights", steps["permissions"].Detail)
	require.Equal(t, check.Warning, steps["snapshot-controller"].Outcome, "it has no lease here and no workload")
	require.Equal(t, check.OK, steps["Velero"].Outcome)
	i.ownClass(steps)
}

// ownClass: a StorageClass that a restore has made for itself is none of the user's.
func (i *installed) ownClass(before map[string]check.Result) {
	i.Helper()
	own := &storagev1.StorageClass{ObjectMeta: leftBehind().ObjectMeta, Provisioner: testbed.DriverName}
	classes := i.Kube.StorageV1().StorageClasses()
	_, err := classes.Create(i.Context(), own, metav1.CreateOptions{})
	require.NoError(i, err)
	defer func() { require.NoError(i, classes.Delete(i.Context(), own.Name, metav1.DeleteOptions{})) }()
	steps := i.steps(exitOK, "check", "snapshotter")
	require.NotContains(i, steps, "class "+own.Name)
	require.Equal(i, before["storage classes"].Detail, steps["storage classes"].Detail)
	require.NotContains(i, i.steps(exitFailed, "check", "snapshotter", "--full", "--storage-class", "nosuch")["claim"].Detail, own.Name)
}

// groups: which of the setting groups holds depends on what the cluster has.
func (i *installed) groups(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	step := i.steps(exitFailed, "check", "snapshotter", "--config", "groups=require")["groups"]
	require.Equal(t, check.Failed, step.Outcome)
	require.Contains(t, step.Detail, "the backup of a group fails")
	require.Contains(t, step.Hint, "VolumeGroupSnapshotClass")
	i.groupClass("one")
	step = i.steps(exitOK, "check", "snapshotter")["groups"]
	require.Equal(t, check.OK, step.Outcome)
	require.Contains(t, step.Detail, testbed.DriverName+": as one, by VolumeGroupSnapshotClass one (v1)")
	i.groupClass("two")
	step = i.steps(exitOK, "check", "snapshotter")["groups"]
	require.Equal(t, check.Warning, step.Outcome)
	require.Contains(t, step.Detail, "several VolumeGroupSnapshotClasses")
	step = i.steps(exitOK, "check", "snapshotter", "--config", "groups=off")["groups"]
	require.Contains(t, step.Detail, "groups: off")
}

// groupClass gives the driver a VolumeGroupSnapshotClass for the length of the test.
func (i *installed) groupClass(name string) {
	i.Helper()
	require.NoError(i, i.Apply(i.Context(), `{apiVersion: groupsnapshot.storage.k8s.io/v1, kind: VolumeGroupSnapshotClass, metadata: {name: `+name+`}, driver: `+testbed.DriverName+`, deletionPolicy: Delete}`))
	classes := i.Dynamic.Resource(schema.GroupVersionResource{Group: "groupsnapshot.storage.k8s.io", Version: "v1", Resource: "volumegroupsnapshotclasses"})
	i.Cleanup(func() {
		require.NoError(i, classes.Delete(context.WithoutCancel(i.Context()), name, metav1.DeleteOptions{}))
	})
}

func (i *installed) full(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	before, err := i.Leftovers(t.Context())
	require.NoError(t, err)
	for _, class := range []string{testbed.ClassImmediate, testbed.ClassWaitForFirstConsumer} {
		steps := i.steps(exitOK, "check", "snapshotter", "--full", "--storage-class", class)
		require.Contains(t, steps["claim"].Detail, class)
		require.Contains(t, steps["snapshot"].Detail, "csi://"+testbed.DriverName)
		require.Equal(t, check.OK, steps["restore"].Outcome)
		require.Equal(t, check.OK, steps["clean up"].Outcome)
		i.as(before)
	}
	steps := i.steps(exitFailed, "check", "snapshotter", "--full", "--storage-class", "nosuch")
	require.Contains(t, steps["claim"].Detail, "nosuch")
	require.Contains(t, steps["readiness"].Detail, testbed.DriverName+": snapshots can be restored at once")

	require.NoError(t, i.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{{Method: "CreateSnapshot", Code: "FailedPrecondition", Message: "the array is on fire"}}}))
	steps = i.steps(exitFailed, "check", "snapshotter", "--full", "--config", "errorGracePeriod=2s")
	require.NoError(t, i.ControlDriver(testbed.DriverControl{}))
	require.Contains(t, steps["snapshot"].Detail, "the array is on fire")
	i.as(before)
}

// fullBesideOthers: a full check has volumes of its own where Available ones of its
// class, with somebody's data, would do.
func (i *installed) fullBesideOthers(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	foreign, err := i.AddForeign(t.Context(), testbed.ForeignOptions{Classes: []string{testbed.ClassImmediate}})
	require.NoError(t, err)
	available, err := foreign.Available(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, available)
	before, err := i.Leftovers(t.Context())
	require.NoError(t, err)
	steps := i.steps(exitOK, "check", "snapshotter", "--full", "--storage-class", testbed.ClassImmediate)
	require.Equal(t, check.OK, steps["restore"].Outcome)
	i.as(before)
	require.NoError(t, foreign.Verify(t.Context()))
	require.NoError(t, foreign.Remove(t.Context()))
}

// stopAt interrupts a check at a step.
type stopAt struct {
	check.Silent
	step string
	stop context.CancelFunc
}

func (s stopAt) Begin(step string) {
	if step == s.step {
		s.stop()
	}
}

// interrupted: a person presses Ctrl-C in the middle of a full check.
func (i *installed) interrupted(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	before, err := i.Leftovers(t.Context())
	require.NoError(t, err)
	cluster, err := check.NewCluster(i.Config, "velero")
	require.NoError(t, err)
	log, _ := test.NewNullLogger()
	for _, step := range []string{"snapshot", "restore"} {
		ctx, cancel := context.WithCancel(t.Context())
		location, err := cluster.Find(ctx, check.VolumeSnapshot, "")
		require.NoError(t, err)
		steps := byName(check.Snapshotter(ctx, cluster, location, check.Full{Wanted: true, Size: "1Gi"}, log, stopAt{step: step, stop: cancel}))
		require.Equal(t, "interrupted", steps[step].Detail)
		require.Equal(t, check.OK, steps["clean up"].Outcome, steps["clean up"].Detail)
		i.as(before)
	}
}

// as wants the cluster and its storage to be as before.
func (i *installed) as(before testbed.Leftovers) {
	i.Helper()
	require.Eventually(i, func() bool {
		now, err := i.Leftovers(context.WithoutCancel(i.Context()))
		return err == nil && fmt.Sprint(now) == fmt.Sprint(before)
	}, 20*time.Second, 100*time.Millisecond)
}

func (i *installed) sweep(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	require.Contains(t, i.run(exitOK, "sweep", "--dry-run"), "Nothing is left.")
	snapshot, err := i.Snapshots.VolumeSnapshotContents().Create(t.Context(), leftBehind(), metav1.CreateOptions{})
	require.NoError(t, err)
	dry := []string{"sweep", "default", "--dry-run"}
	require.Contains(t, i.run(exitOK, dry...), snapshot.Name)
	var list []leftover
	require.NoError(t, json.Unmarshal([]byte(i.run(exitOK, append(dry, "-o", "json")...)), &list))
	require.Equal(t, "VolumeSnapshotContent", list[0].Kind)
	require.Equal(t, "restore", list[0].Purpose)

	require.NotContains(t, i.run(exitOK, dry...), "too young")
	young := leftBehind()
	young.Name = "longshore-restore-2d8b5a40-6b1f-4c57-8a1e-94f3c7d0e611"
	young.Annotations["longshore.dev/deadline"] = time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	_, err = i.Snapshots.VolumeSnapshotContents().Create(t.Context(), young, metav1.CreateOptions{})
	require.NoError(t, err)
	const waits = "too young for a sweep: 1 object, whose calls may still run; from 20"
	out := i.run(exitOK, "sweep", "default")
	require.Contains(t, out, snapshot.Name)
	require.Contains(t, out, "\nAnd "+waits)
	out = i.run(exitOK, dry...)
	require.Contains(t, out, "Nothing is left that is old enough; "+waits)
	require.Contains(t, out, "(sweepAfter: 10m)")
	require.NoError(t, i.Snapshots.VolumeSnapshotContents().Delete(t.Context(), young.Name, metav1.DeleteOptions{}))
	require.Contains(t, i.run(exitOK, dry...), "Nothing is left.")
}

// leftBehind is what a restore that was killed leaves.
func leftBehind() *snapshotv1.VolumeSnapshotContent {
	const name = "longshore-restore-5cbf8f5e-0d0a-4f2c-9a56-0e2b1f3c4d5e"
	handle := "gone"
	return &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				"app.kubernetes.io/managed-by": "longshore", "longshore.dev/purpose": "restore", "longshore.dev/velero": "velero",
			},
			Annotations: map[string]string{"longshore.dev/deadline": "2026-01-01T00:00:00Z"},
		},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			DeletionPolicy: snapshotv1.VolumeSnapshotContentRetain, Driver: "nobody.example",
			Source:            snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: &handle},
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: "velero", Name: name},
		},
	}
}

func (i *installed) enableCSI(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	i.args(`["server","--features=EnableCSI"]`)
	steps := i.steps(exitFailed, "check", "snapshotter")
	require.Contains(t, steps["Velero"].Detail, "EnableCSI")
	require.Contains(t, steps["Velero"].Hint, "remove EnableCSI")
	i.args(`["server","--features="]`)
}

// args sets the arguments of the Velero server.
func (i *installed) args(list string) {
	i.Helper()
	patch := `[{"op":"replace","path":"/spec/template/spec/containers/0/args","value":` + list + `}]`
	_, err := i.Kube.AppsV1().Deployments("velero").Patch(i.Context(), "velero", types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(i, err)
}

func (i *installed) badSettings(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	steps := i.steps(exitFailed, "check", "snapshotter", "--config", "snapshotClas=x")
	require.Contains(t, steps["settings"].Detail, "did you mean snapshotClass")
	require.Len(t, steps, 1)
	steps = i.steps(exitFailed, "check", "snapshotter", "--config", "drivers=nobody.example")
	require.Contains(t, steps["CSI drivers"].Detail, "nobody.example")
	steps = i.steps(exitFailed, "check", "snapshotter", "--config", "snapshotClass=nosuch")
	require.Contains(t, steps["class "+testbed.ClassImmediate].Detail, `"nosuch"`)
}

func (i *installed) leases(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	i.lease("snapshot-controller-leader", time.Now())
	i.lease("external-snapshotter-leader-"+strings.ReplaceAll(testbed.DriverName, ".", "-"), time.Now().Add(-time.Hour))
	steps := i.steps(exitFailed, "check", "snapshotter")
	require.Equal(t, check.OK, steps["snapshot-controller"].Outcome)
	require.Contains(t, steps["csi-snapshotter"].Detail, "was last renewed 1h0m")
	require.NoError(t, i.Kube.CoordinationV1().Leases("kube-system").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
}

func (i *installed) lease(name string, renewed time.Time) {
	i.Helper()
	holder, seconds, at := "someone", int32(15), metav1.NewMicroTime(renewed)
	_, err := i.Kube.CoordinationV1().Leases("kube-system").Create(i.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &at},
	}, metav1.CreateOptions{})
	require.NoError(i, err)
}

// permissions takes away the rights that velero install gave, and gives those that
// are printed.
func (i *installed) permissions(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	require.NoError(t, i.Kube.RbacV1().ClusterRoleBindings().Delete(t.Context(), "velero", metav1.DeleteOptions{}))
	lacking := func() check.Result { return i.steps(exitFailed, "check", "snapshotter")["permissions"] }
	require.Eventually(t, func() bool { return lacking().Outcome == check.Failed }, 10*time.Second, 200*time.Millisecond)
	require.Contains(t, lacking().Detail, "service account velero/velero may not get persistentvolumes; list persistentvolumes;")
	require.Contains(t, lacking().Hint, "velero-plugin-longshore print rbac -n velero --service-account velero | kubectl apply")
	i.groupClass("unused")
	require.Contains(t, i.steps(exitFailed, "check", "snapshotter")["groups"].Detail, "side by side (Velero may not list volumegroupsnapshotclasses.groupsnapshot.storage.k8s.io)")

	require.NoError(t, i.Apply(t.Context(), printed(t, exitOK, "rbac")))
	require.Eventually(t, func() bool {
		var stdout, stderr bytes.Buffer
		return Run([]string{"check", "snapshotter", "--kubeconfig", i.Kubeconfig}, "test", &stdout, &stderr) == exitOK
	}, 10*time.Second, 200*time.Millisecond, "what is printed grants all that is checked")
	i.stagingRights(t)
}

// stagingRights: with stagingNamespace, some rights are needed there and no others.
func (i *installed) stagingRights(t *testing.T) {
	t.Helper()
	_, err := i.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "staging"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	args := []string{"check", "snapshotter", "--config", "stagingNamespace=staging"}
	lacking := i.steps(exitFailed, args...)["permissions"]
	require.Contains(t, lacking.Detail, "create persistentvolumeclaims in namespace staging")
	require.NotContains(t, lacking.Detail, "configmaps")
	require.Contains(t, lacking.Hint, "--staging-namespace staging")
	require.NoError(t, i.Apply(t.Context(), printed(t, exitOK, "rbac", "--staging-namespace", "staging")))
	require.Eventually(t, func() bool {
		var stdout, stderr bytes.Buffer
		return Run(append(args, "--kubeconfig", i.Kubeconfig), "test", &stdout, &stderr) == exitOK
	}, 10*time.Second, 200*time.Millisecond)
}

func (i *installed) noClass(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	require.NoError(t, i.Snapshots.VolumeSnapshotClasses().Delete(t.Context(), testbed.SnapshotClass, metav1.DeleteOptions{}))
	steps := i.steps(exitFailed, "check", "snapshotter")
	require.Contains(t, steps["class "+testbed.ClassImmediate].Detail, "no VolumeSnapshotClass")
	require.Contains(t, steps["class "+testbed.ClassImmediate].Hint, "snapshotClass."+testbed.DriverName)
}

// nothingInstalled has no snapshot API in the cluster.
func (i *installed) nothingInstalled(t *testing.T) {
	i = &installed{t, i.Cluster, i.s3}
	definitions := i.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, plural := range []string{"volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"} {
		require.NoError(t, definitions.Delete(t.Context(), plural+".snapshot.storage.k8s.io", metav1.DeleteOptions{}))
	}
	require.Eventually(t, func() bool {
		var stdout, stderr bytes.Buffer
		Run([]string{"check", "snapshotter", "--kubeconfig", i.Kubeconfig}, "test", &stdout, &stderr)
		return strings.Contains(stdout.String(), "install the CRDs")
	}, 30*time.Second, 500*time.Millisecond)
}
