package e2e

import (
	"os"
	"os/exec"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// Backups whose restore fails.
const (
	noLocation = "no-location" // its location is lost meanwhile
	noArchive  = "no-archive"  // so is its archive
	noImage    = "no-image"    // its Deployment never gets ready
)

// backUpFailing makes these backups.
func (d *drills) backUpFailing() {
	d.Helper()
	require.NoError(d, d.cluster.CreateNamespace(d.Context(), "queue"))
	require.NoError(d, d.cluster.Apply(d.Context(), deployment("queue", "worker", absent)))
	for name, namespace := range map[string]string{noLocation: alsoDrilled, noArchive: alsoDrilled, noImage: "queue"} {
		veleroCLI(d.T, d.velero, "backup", "create", name, "--include-namespaces", namespace)
	}
	for _, name := range []string{noLocation, noArchive, noImage} {
		require.NoError(d, d.velero.WaitBackup(d.Context(), name, waitLimit))
	}
}

// failEachWay makes drills that fail, each at one step, side by side. Of two of them the
// clean-up fails; it returns the ID of one of which the next drill can remove what is left.
func (d *drills) failEachWay() (removable string) {
	d.Helper()
	// The clean-ups fail last: the other drills would try to remove what is left of them.
	ends := []func(){d.neverReady(), d.restoreFails(), d.cannotFail(), d.markersFail()}
	removable, held := d.heldNamespace()
	for _, end := range append(ends, d.boundToStrangers(), held) {
		end()
	}
	return removable
}

// failsAt wants a drill of a backup to fail at one step, and to say so.
func (d *drills) failsAt(told *drillTold, step string) check.Result {
	d.Helper()
	require.Equal(d, []string{step}, told.failures(), "%+v", told.Steps)
	require.Positive(d, d.events(told.Backup, "DrillFailed", "failed: "+step))
	return told.step(step)
}

// neverReady is the drill of a Deployment whose image cannot be pulled. It returns when
// Velero has restored it.
func (d *drills) neverReady() (end func()) {
	d.Helper()
	command := d.reporting(noImage, "--timeout", "30s")
	ending := d.beginAs(command, []string{noImage})
	d.await("a Restore of "+noImage, func() bool { return d.phase(d.drillOf(command)) == "Completed" })
	return func() {
		d.Helper()
		failed := d.failsAt(ending(1), "workloads")
		require.Regexp(d, `^gave up waiting for the workloads in drill-\w+-queue: the time of --timeout is over; last seen: Deployment worker has 0 of 1 pods ready, pod worker-[-\w]+ is Pending \(ImagePullBackOff\)$`, failed.Detail)
		require.Contains(d, failed.Hint, "look at its image")
		d.requireVerdict(noImage, "failed: workloads", "DrillFailed")
	}
}

// paused begins a drill whose test pauses. The file is there while it does.
func (d *drills) paused(args ...string) (command *exec.Cmd, file string, end func(status int) *drillTold) {
	d.Helper()
	command = d.reporting(args...)
	end = d.beginAs(command, args)
	d.Cleanup(func() { _ = command.Process.Kill() })
	return command, reachedFile(command), end
}

// restoreFails are drills whose Restores Velero ends as FailedValidation, Failed and
// PartiallyFailed, by what happens while the test is in the empty namespace.
func (d *drills) restoreFails() (end func()) {
	d.Helper()
	var ends []func()
	for _, c := range []struct {
		backup, says string
		harm         func(id string)
	}{
		{noLocation, `^the Restore is FailedValidation: Error retrieving backup: .*"elsewhere" not found`, d.loseLocation},
		{noArchive, `^the Restore is Failed: restore execution failed: .*`, d.loseArchive},
		{"levels", `^the Restore is PartiallyFailed: .*configmaps "levels" is forbidden: exceeded quota`, d.setQuota},
	} {
		command, file, ending := d.paused(c.backup, "--", d.program, pausesFirst)
		d.await("the test in the empty namespace", func() bool { return exists(file) })
		c.harm(d.drillOf(command))
		require.NoError(d, os.Remove(file))
		ends = append(ends, func() {
			d.Helper()
			failed := d.failsAt(ending(1), "restore")
			require.Regexp(d, c.says, failed.Detail)
			require.Contains(d, failed.Hint, "a real restore would end like this too")
		})
	}
	return func() {
		d.Helper()
		for _, end := range ends {
			end()
		}
		d.requireVerdict(noLocation, "failed: restore", "DrillFailed")
		d.requireVerdict(noArchive, "failed: restore", "DrillFailed")
	}
}

// loseLocation has a Backup be in a location that is not there.
func (d *drills) loseLocation(string) {
	_, err := d.velero.Objects("backups").Patch(d.Context(), noLocation, types.MergePatchType, []byte(`{"spec": {"storageLocation": "elsewhere"}}`), metav1.PatchOptions{})
	require.NoError(d, err)
}

func (d *drills) loseArchive(string) {
	client, err := d.s3.Client()
	require.NoError(d, err)
	require.NoError(d, client.RemoveObject(d.Context(), drillBucket, "backups/"+noArchive+"/"+noArchive+".tar.gz", minio.RemoveObjectOptions{}))
}

// setQuota refuses the ConfigMaps of a drill.
func (d *drills) setQuota(id string) {
	d.Helper()
	scratch := scratchOf(id, alsoDrilled)
	require.NoError(d, d.cluster.Apply(d.Context(), `
apiVersion: v1
kind: ResourceQuota
metadata: {name: none, namespace: `+scratch+`}
spec: {hard: {count/configmaps: "0"}}
`))
	d.await("the quota to be enforced", func() bool {
		config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "one-more"}}
		_, err := d.cluster.Kube.CoreV1().ConfigMaps(scratch).Create(d.Context(), config, metav1.CreateOptions{DryRun: dry})
		return err != nil
	})
}

// scratchOf is the namespace that stands for another in a drill.
func scratchOf(id, namespace string) string { return "drill-" + id + "-" + namespace }

// cannotFail is a drill whose test succeeds in the empty namespace.
func (d *drills) cannotFail() (end func()) {
	d.Helper()
	ending := d.begin("levels", "--", d.program, agrees)
	return func() {
		d.Helper()
		told := ending(1)
		require.Equal(d, "the test succeeds in an empty namespace, so it cannot fail", d.failsAt(told, "able to fail").Detail)
		require.Empty(d, told.step("restore"), "nothing is restored for it")
		require.Equal(d, "0 Restores, 2 namespaces and 0 volumes gone", told.step("clean up").Detail)
	}
}

// markersFail are a drill that looks for what Kubernetes brings into each namespace, when
// it likes to, and one that looks for what nobody has made.
func (d *drills) markersFail() (end func()) {
	d.Helper()
	everywhere := d.begin("levels", "--expect", "stock/configmaps/kube-root-ca.crt")
	nowhere := d.begin("levels", "--expect", "stock/configmaps/never")
	return func() {
		d.Helper()
		told := everywhere(1)
		require.Len(d, told.failures(), 1, "%+v", told.Steps)
		require.Contains(d, []string{"able to fail", "markers"}, told.failures()[0])
		require.Equal(d, "stock/configmaps/kube-root-ca.crt is in the empty namespace too: it proves nothing", d.failsAt(told, told.failures()[0]).Detail)
		require.Equal(d, "stock/configmaps/never is not there", d.failsAt(nowhere(1), "markers").Detail)
	}
}

// heldNamespace is a drill of which a namespace does not go while something in it has a
// finalizer. It returns when its Restore is gone.
func (d *drills) heldNamespace() (id string, end func()) {
	d.Helper()
	command, file, ending := d.paused("levels", "--clean-up-timeout", "40s", "--", d.program, pausesLast)
	d.await("the test", func() bool { return exists(file) })
	id = d.drillOf(command)
	scratch := scratchOf(id, alsoDrilled)
	configs := d.cluster.Kube.CoreV1().ConfigMaps(scratch)
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/keep"}}}
	_, err := configs.Create(d.Context(), config, metav1.CreateOptions{})
	require.NoError(d, err)
	require.NoError(d, os.Remove(file))
	d.await("the Restore to go", func() bool { return d.restore(id) == nil })
	return id, func() {
		d.Helper()
		failed := d.failsAt(ending(1), "clean up")
		require.Contains(d, failed.Detail, "of drill "+id+": Namespace "+scratch+": gave up after ")
		require.Contains(d, failed.Detail, "Namespace "+scratch+" is left: Some resources are remaining: configmaps. has 1 resource instances, Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances")
		require.Contains(d, failed.Hint, "have that run, or take the finalizer off")
		require.Nil(d, d.namespace(id), "what is empty is gone")
		none := []byte(`{"metadata": {"finalizers": null}}`)
		_, err := configs.Patch(d.Context(), config.Name, types.MergePatchType, none, metav1.PatchOptions{})
		require.NoError(d, err)
	}
}

// boundToStrangers is a drill whose claim gets somebody's volume, which must stay.
func (d *drills) boundToStrangers() (end func()) {
	d.Helper()
	d.replaceClass("nobody.example.com")
	require.NoError(d, d.cluster.Apply(d.Context(), `
apiVersion: v1
kind: PersistentVolume
metadata: {name: strangers}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 10Gi}
  storageClassName: lost
  persistentVolumeReclaimPolicy: Retain
  csi: {driver: nobody.example.com, volumeHandle: strangers}
`))
	ending := d.begin(lostClass)
	return func() {
		d.Helper()
		failed := d.failsAt(ending(1), "clean up")
		require.Regexp(d, `PersistentVolume strangers of claim drill-\w+-bank/data is left alone, and with it the claim: neither the drill's Restore nor a provisioner made it; `, failed.Detail)
		d.requireVerdict(lostClass, "failed: clean up", "DrillFailed")
	}
}

// requireRemains wants a drill to have removed what was left of one, to say what it cannot
// remove of another, and to go on. Of the contents it has removed those of the one.
func (d *drills) requireRemains(told *drillTold, removable string, contents []content) {
	d.Helper()
	remains := told.step("remains")
	require.Equal(d, check.Warning, remains.Outcome, "%+v", remains)
	require.Regexp(d, `^of drill \w+: PersistentVolume strangers of claim drill-\w+-bank/data is left alone, .*; removed .* of drill `+removable+`$`, remains.Detail)
	for _, c := range contents {
		require.Equal(d, c.ofDrill, d.find(c.client, c.name) == nil, "%s: %s", c.name, remains.Detail)
	}
	strangers, err := d.cluster.Kube.CoreV1().PersistentVolumes().Get(d.Context(), "strangers", metav1.GetOptions{})
	require.NoError(d, err)
	require.Equal(d, corev1.VolumeBound, strangers.Status.Phase)
	require.Equal(d, corev1.PersistentVolumeReclaimRetain, strangers.Spec.PersistentVolumeReclaimPolicy)
}

// removeByHand removes what no drill does, as the docs say.
func (d *drills) removeByHand(contents []content) {
	d.Helper()
	core, leases := d.cluster.Kube.CoreV1(), d.cluster.Kube.CoordinationV1().Leases(d.velero.Namespace)
	require.NoError(d, core.PersistentVolumes().Delete(d.Context(), "strangers", metav1.DeleteOptions{}))
	d.removeContents(contents)
	for _, namespace := range d.namespaces() {
		require.NoError(d, core.Namespaces().Delete(d.Context(), namespace.Name, metav1.DeleteOptions{}))
	}
	require.NoError(d, leases.DeleteCollection(d.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: ofDrills}))
	d.await("the namespaces and the volume to go", func() bool {
		_, err := core.PersistentVolumes().Get(d.Context(), "strangers", metav1.GetOptions{})
		return len(d.namespaces()) == 0 && apierrors.IsNotFound(err)
	})
}
