package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// stage is how far a drill comes before it is killed. The file is there when its test is
// under way.
type stage struct {
	name    string
	args    []string
	reached func(id, file string) bool
}

// killed kills a drill at each of its steps, and interrupts one whose Restore is under
// way. None can go on: meanwhile the driver makes no volume and then deletes none, and the
// kubelet has no workload run. It returns the IDs of those that were killed, in the order of
// stages.
func (d *drills) killed() (ids []string) {
	d.Helper()
	d.noKubelet.Store(true)
	defer d.noKubelet.Store(false)
	d.replaceClass("nobody.example.com")
	d.refuse("CreateVolume")
	interrupted, under := d.start("orders"), ""
	d.await("a Restore under way", func() bool {
		under = d.drillOf(interrupted)
		return d.phase(under) == "InProgress"
	})
	all := d.startEach(d.stages()) // before one is killed, whose remains they would remove
	ids = d.killEach(all[:1])
	require.NoError(d, interrupted.Process.Signal(os.Interrupt))
	d.await("the Restore of the interrupted drill to be deleted", func() bool { return isEnding(d.restore(under)) })
	require.Equal(d, "InProgress", d.phase(under), "Velero goes on with it")
	d.refuse("DeleteVolume")
	ids = append(ids, d.killEach(all[1:])...)
	require.NoError(d, d.cluster.ControlDriver(testbed.DriverControl{}))
	d.neverClaimed(ids[allRestored])
	requireInterrupted(d.T, interrupted)
	return ids
}

// allRestored is the stage at which all was restored.
const allRestored = 4

// stages are those of a drill, the first of which comes while Velero is at work for another.
func (d *drills) stages() []stage {
	inTest := func(_, file string) bool { return exists(file) }
	return []stage{
		{"a Restore that waits for another", []string{"orders"}, func(id, _ string) bool { return d.restore(id) != nil }},
		{"the test in the empty namespace", []string{"orders", "--", d.program, holdsFirst}, inTest},
		{"claims that are not Bound", []string{lostClass}, func(id, _ string) bool { return d.phase(id) == "Completed" }},
		{"workloads that are not ready", []string{"orders"}, func(id, _ string) bool { return d.phase(id) == "Completed" && d.pods(id) > 0 }},
		{"its test", []string{"orders", "--include-cluster-resources", clusterRoles, "--until", "bound", "--", d.program, holds}, inTest},
		{"the removal of its Restore", []string{"orders", "--until", "restored"}, func(id, _ string) bool {
			restore := d.restore(id)
			return d.volumes(id) > 0 && (restore == nil || isEnding(restore))
		}},
		{"the removal of its namespaces", []string{"orders", "--until", "restored"}, func(id, _ string) bool { return isEnding(d.namespace(id)) }},
		{"the removal of its volumes", []string{"orders", "--until", "restored"}, func(id, _ string) bool { return d.namespace(id) == nil && d.volumes(id) > 0 }},
	}
}

// running is a drill that is to be killed.
type running struct {
	stage
	id      string
	command *exec.Cmd
}

// startEach starts drills side by side, and waits until each has its Lease.
func (d *drills) startEach(stages []stage) []running {
	d.Helper()
	var all []running
	for _, s := range stages {
		all = append(all, running{stage: s, command: d.start(s.args...)})
	}
	for i := range all {
		d.await("the Lease of a drill", func() bool {
			all[i].id = d.drillOf(all[i].command)
			return all[i].id != ""
		})
	}
	return all
}

// killEach kills drills, each when it has come so far, and returns their IDs.
func (d *drills) killEach(all []running) (ids []string) {
	d.Helper()
	var kills errgroup.Group
	for _, r := range all {
		ids = append(ids, r.id)
		kills.Go(func() error {
			err := testbed.Poll(d.Context(), waitLimit, "a drill to come to "+r.name, func(context.Context) (bool, string, error) {
				return r.reached(r.id, reachedFile(r.command)), "drill " + r.id, nil
			})
			if err != nil {
				return err
			}
			if err := r.command.Process.Kill(); err != nil {
				return fmt.Errorf("the drill that was to be killed at %s: %w", r.name, err)
			}
			_ = r.command.Wait()
			return nil
		})
	}
	require.NoError(d, kills.Wait())
	return ids
}

// start starts a drill that may be killed.
func (d *drills) start(args ...string) *exec.Cmd {
	d.Helper()
	command := d.reporting(args...)
	require.NoError(d, command.Start())
	d.Cleanup(func() { _ = command.Process.Kill() })
	return command
}

// reporting is a drill whose test says that it is under way. It outlives the test's context.
func (d *drills) reporting(args ...string) *exec.Cmd {
	d.Helper()
	command := d.command(context.WithoutCancel(d.Context()), args...)
	command.Env = append(command.Env, reachedVariable+"="+filepath.Join(d.TempDir(), "reached"))
	return command
}

// reachedVariable names the file by which the test of a drill says that it is under way.
const reachedVariable = "DRILL_TEST_REACHED"

func reachedFile(command *exec.Cmd) string {
	_, file, _ := strings.Cut(command.Env[len(command.Env)-1], "=")
	return file
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func (d *drills) await(what string, done func() bool) {
	d.Helper()
	require.NoError(d, testbed.Poll(d.Context(), waitLimit, what, func(context.Context) (bool, string, error) { return done(), "not yet", nil }))
}

// refuse has the driver refuse a call.
func (d *drills) refuse(method string) {
	d.Helper()
	require.NoError(d, d.cluster.ControlDriver(testbed.DriverControl{Rules: []testbed.DriverRule{{Method: method, Code: "Unavailable", Message: "not now"}}}))
}

// drillOf is the ID of the drill that a process makes, by its Lease; "" if it has none.
func (d *drills) drillOf(command *exec.Cmd) string {
	leases, err := d.cluster.Kube.CoordinationV1().Leases(d.velero.Namespace).List(d.Context(), metav1.ListOptions{LabelSelector: ofDrills})
	if err != nil {
		return ""
	}
	for _, lease := range leases.Items {
		if strings.HasSuffix(*lease.Spec.HolderIdentity, fmt.Sprintf("/%d", command.Process.Pid)) {
			return lease.Labels["longshore.dev/drill"]
		}
	}
	return ""
}

// restore is the Restore of a drill, nil if there is none.
func (d *drills) restore(id string) *unstructured.Unstructured {
	return d.find(d.velero.Objects("restores"), "longshore-drill-"+id)
}

func (d *drills) phase(id string) string {
	restore := d.restore(id)
	if restore == nil {
		return ""
	}
	phase, _, _ := unstructured.NestedString(restore.Object, "status", "phase")
	return phase
}

// namespace is the empty one of a drill, nil if there is none.
func (d *drills) namespace(id string) *unstructured.Unstructured {
	return d.find(d.cluster.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}), "drill-"+id)
}

func (d *drills) find(kind dynamic.ResourceInterface, name string) *unstructured.Unstructured {
	found, err := kind.Get(d.Context(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return found
}

func isEnding(object *unstructured.Unstructured) bool {
	return object != nil && object.GetDeletionTimestamp() != nil
}

// pods counts those that were restored.
func (d *drills) pods(id string) int {
	list, err := d.cluster.Kube.CoreV1().Pods("drill-"+id+"-"+drilledApp).List(d.Context(), metav1.ListOptions{})
	if err != nil {
		return 0
	}
	return len(list.Items)
}

// volumes counts those of a drill.
func (d *drills) volumes(id string) (n int) {
	list, err := d.cluster.Kube.CoreV1().PersistentVolumes().List(d.Context(), metav1.ListOptions{})
	if err != nil {
		return 0
	}
	for _, pv := range list.Items {
		if pv.Spec.ClaimRef != nil && strings.HasPrefix(pv.Spec.ClaimRef.Namespace, "drill-"+id) {
			n++
		}
	}
	return n
}

// requireRemoved wants a drill to have removed what is left of these.
func (d *drills) requireRemoved(told *drillTold, ids []string) {
	d.Helper()
	detail := told.step("remains").Detail
	require.Contains(d, detail, "removed ")
	for _, id := range ids {
		require.Contains(d, detail, " of drill "+id)
	}
	require.Contains(d, detail, "2 Restores, 3 namespaces and 2 volumes, and 1 object of the cluster of drill "+ids[allRestored])
}

// neverClaimed makes a volume as the Restore of a killed drill does whose claim is
// refused.
func (d *drills) neverClaimed(id string) {
	d.Helper()
	require.NoError(d, d.cluster.Apply(d.Context(), fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata:
  name: never-claimed
  labels: {velero.io/restore-name: longshore-drill-%[1]s}
  annotations: {pv.kubernetes.io/provisioned-by: %[2]s}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  storageClassName: hostpath
  persistentVolumeReclaimPolicy: Retain
  claimRef: {namespace: drill-%[1]s-shop, name: refused}
  csi: {driver: %[2]s, volumeHandle: never-claimed}
`, id, testbed.DriverName)))
}
