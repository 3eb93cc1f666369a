package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	movedBucket = "moved"
	movedClaim  = "database"
	movedFile   = "orders"
)

// moved is what is in that file.
var moved = strings.Repeat("the only copy\n", 100_000)

// TestDataMover has Longshore as the object store only, as docs/choose.md installs
// it: Velero takes the CSI snapshots itself, and its data mover moves what is in them
// into the bucket by kopia, and back when a drill has it restored. All programs are the
// real ones; the test does what a scheduler and a kubelet would.
func TestDataMover(t *testing.T) {
	bed := testbed.ForTest(t)
	s3, err := bed.StartS3(t.Context(), testbed.S3Options{Buckets: []string{movedBucket}})
	require.NoError(t, err)
	cluster, err := bed.StartCluster(t.Context(), testbed.ClusterOptions{})
	require.NoError(t, err)
	server, err := bed.StartVelero(t.Context(), cluster, testbed.VeleroOptions{
		S3: s3, Bucket: movedBucket, Prefix: "cluster-one",
		InstallArgs: []string{"--use-volume-snapshots=false", "--features=EnableCSI", "--use-node-agent"},
		ServerArgs:  []string{"--features=EnableCSI", "--item-operation-sync-frequency=1s"},
	})
	require.NoError(t, err)
	n := &node{VeleroServer: server, bed: bed, s3: s3, name: testbed.NodeName(cluster.Zones[0])}
	n.startAgent(t)
	n.writeClaim(t)
	removeLastMessage(t)

	veleroCLI(t, server, "backup", "create", "moved", "--include-namespaces", movedNamespace, "--snapshot-move-data")
	n.runMover(t, "velero.io/data-upload")
	require.NoError(t, server.WaitBackup(t.Context(), "moved", waitLimit))
	require.NoError(t, cluster.DeleteNamespace(t.Context(), movedNamespace))
	n.requireOnlyInBucket(t, int64(len(moved)))
	n.verify(t)
	n.drill(t)
}

// removeLastMessage removes the file that a mover writes its last message to, and
// that belongs to its container, where nobody else has one.
func removeLastMessage(t *testing.T) {
	t.Helper()
	const file = "/dev/termination-log"
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		t.Cleanup(func() { _ = os.Remove(file) }) // a user who is not root has none
	}
}

// node is the cluster's node, for the pods of Velero's namespace.
type node struct {
	*testbed.VeleroServer
	bed  *testbed.Bed
	s3   *testbed.S3
	name string
}

// startAgent makes the node one that pods can run on, and runs Velero's node agent
// there.
func (n *node) startAgent(t *testing.T) {
	t.Helper()
	_, err := n.Cluster.Kube.CoreV1().Nodes().Patch(t.Context(), n.name, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"kubernetes.io/os":"linux"}},"spec":{"taints":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	n.setRunning(t, n.waitPod(t, "role=node-agent"))
	err = testbed.Poll(t.Context(), waitLimit, "the DaemonSet node-agent to be ready", func(ctx context.Context) (bool, string, error) {
		set, err := n.Cluster.Kube.AppsV1().DaemonSets(n.Namespace).Get(ctx, "node-agent", metav1.GetOptions{})
		return err == nil && set.Status.NumberReady > 0, fmt.Sprint(set.Status), err
	})
	require.NoError(t, err)
	n.start(t, "node-agent", "node-agent", "server", "--metrics-address=127.0.0.1:0")
}

// start runs Velero's program as a container of the node would.
func (n *node) start(t *testing.T, name string, args ...string) *testbed.Process {
	t.Helper()
	velero, err := testbed.Velero.Path(t.Context())
	require.NoError(t, err)
	process, err := n.bed.Start(t.Context(), testbed.Command{
		Name: name, Path: velero, Args: args,
		Env: []string{
			"VELERO_NAMESPACE=" + n.Namespace, "NODE_NAME=" + n.name, "KUBECONFIG=" + n.Cluster.Kubeconfig,
			"AWS_SHARED_CREDENTIALS_FILE=" + n.s3.CredentialsFile,
		},
	})
	require.NoError(t, err)
	return process
}

// waitPod waits for a pod, and schedules it.
func (n *node) waitPod(t *testing.T, selector string) *corev1.Pod {
	t.Helper()
	pods, pod := n.Cluster.Kube.CoreV1().Pods(n.Namespace), &corev1.Pod{}
	err := testbed.Poll(t.Context(), waitLimit, "a pod with the label "+selector, func(ctx context.Context) (bool, string, error) {
		found, err := pods.List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err == nil && len(found.Items) > 0 {
			pod = &found.Items[0]
		}
		return pod.Name != "", "none", err
	})
	require.NoError(t, err)
	require.NoError(t, pods.Bind(t.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
		Target:     corev1.ObjectReference{Kind: "Node", Name: n.name},
	}, metav1.CreateOptions{}))
	return pod
}

func (n *node) setRunning(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	n.setStatus(t, pod, corev1.PodStatus{
		Phase:      corev1.PodRunning,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	})
}

func (n *node) setStatus(t *testing.T, pod *corev1.Pod, status corev1.PodStatus) {
	t.Helper()
	pods := n.Cluster.Kube.CoreV1().Pods(n.Namespace)
	require.NoError(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		now.Status = status
		_, err = pods.UpdateStatus(t.Context(), now, metav1.UpdateOptions{})
		return err
	}))
}

// runMover runs the pod with the label to its end, with the folder of its claim as
// the volume.
func (n *node) runMover(t *testing.T, label string) {
	t.Helper()
	pod := n.waitPod(t, label)
	claim := pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName
	_, err := n.Cluster.WaitBound(t.Context(), n.Namespace, claim)
	require.NoError(t, err)
	folder, err := n.Cluster.ClaimDir(t.Context(), n.Namespace, claim)
	require.NoError(t, err)
	container := pod.Spec.Containers[0]
	args := slices.Concat(container.Command[1:], container.Args)
	volume := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--volume-path=") })
	require.Positive(t, volume, args)
	args[volume] = "--volume-path=" + folder
	n.setRunning(t, pod)
	process := n.start(t, "mover-"+pod.Name, args...)
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	require.NoError(t, process.Wait(ctx))
	n.setStatus(t, pod, corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{
		Name: container.Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: n.result(t, pod.Name)}},
	}}})
}

// result is how the mover ended, from its Event.
func (n *node) result(t *testing.T, name string) string {
	t.Helper()
	message := ""
	err := testbed.Poll(t.Context(), waitLimit, "the Event of a completed mover", func(ctx context.Context) (bool, string, error) {
		events, err := n.Cluster.Kube.CoreV1().Events(n.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
		if err != nil {
			return false, "", err
		}
		seen := ""
		for _, e := range events.Items {
			seen += e.Reason + " " + e.Message + "; "
			if e.Reason == "Data-Path-Completed" {
				message = e.Message
			}
		}
		return message != "", seen, nil
	})
	require.NoError(t, err)
	return message
}

// verify wants verify to find kopia's repository, and to say that it was not read.
func (n *node) verify(t *testing.T) {
	t.Helper()
	var told struct{ Backups []check.Report }
	require.NoError(t, json.Unmarshal([]byte(byHand(t, n.Cluster, "verify", "moved", "-o", "json")), &told))
	steps := map[string]check.Result{}
	for _, step := range told.Backups[0].Steps {
		steps[step.Step] = step.Result
	}
	require.Equal(t, "1 by a data mover", steps["volumes"].Detail)
	require.Equal(t, check.Warning, steps["repositories"].Outcome, "%+v", steps["repositories"])
	require.Equal(t, "whether the data of 1 volume can be restored cannot be told: kopia's repository kopia/"+movedNamespace+"/ is there, and is not read", steps["repositories"].Detail)
}

// drill drills the backup, whose data are read, and of which nothing is left.
func (n *node) drill(t *testing.T) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	d := &drills{T: t, cluster: n.Cluster, velero: n.VeleroServer, kubeconfig: n.Cluster.Kubeconfig}
	end := d.begin("moved", "--", program, readsMoved)
	n.runMover(t, "velero.io/data-download")
	told := end(0)
	require.Equal(t, "1 claim Bound", told.step("claims").Detail)
	require.Equal(t, "1 Restore, 2 namespaces and 1 volume gone", told.step("clean up").Detail)
	d.await("nothing to be left", func() bool { return reflect.DeepEqual(d.leftovers(), testbed.Leftovers{}) })
}

// writeClaim makes the claim that is backed up, with a file in it.
func (n *node) writeClaim(t *testing.T) {
	t.Helper()
	require.NoError(t, n.Cluster.CreateNamespace(t.Context(), movedNamespace))
	_, err := n.Cluster.CreateClaim(t.Context(), testbed.ClaimOptions{Namespace: movedNamespace, Name: movedClaim})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(n.file(t), []byte(moved), 0o600))
}

func (n *node) file(t *testing.T) string {
	t.Helper()
	folder, err := n.Cluster.ClaimDir(t.Context(), movedNamespace, movedClaim)
	require.NoError(t, err)
	return filepath.Join(folder, movedFile)
}

// requireOnlyInBucket wants the moved data to be in the bucket, and nowhere else.
func (n *node) requireOnlyInBucket(t *testing.T, size int64) {
	t.Helper()
	uploads, err := n.Cluster.Dynamic.Resource(schema.GroupVersionResource{Group: "velero.io", Version: "v2alpha1", Resource: "datauploads"}).
		Namespace(n.Namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, uploads.Items, 1)
	status, _ := uploads.Items[0].Object["status"].(map[string]any)
	require.Equal(t, "Completed", status["phase"], status)
	progress, _ := status["progress"].(map[string]any)
	require.Equal(t, size, progress["bytesDone"], status)

	keys, err := n.s3.Keys(t.Context(), movedBucket, "cluster-one/kopia/"+movedNamespace+"/")
	require.NoError(t, err)
	require.NotEmpty(t, keys, "kopia stored nothing")
	keys, err = n.s3.Keys(t.Context(), movedBucket, "cluster-one/backups/moved/")
	require.NoError(t, err)
	require.Contains(t, keys, "cluster-one/backups/moved/velero-backup.json")
	err = testbed.Poll(t.Context(), waitLimit, "the snapshot and the volumes to be gone", func(ctx context.Context) (bool, string, error) {
		left, err := n.Cluster.Leftovers(ctx)
		return len(left.StorageSnapshots)+len(left.StorageVolumes) == 0, fmt.Sprint(left), err
	})
	require.NoError(t, err)
}
