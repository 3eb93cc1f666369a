package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// kubelet has pods run, of which there is nobody else to do it: those of a Job to their
// end, as this program with their arguments, and others are Ready.
func (d *drills) kubelet() {
	for d.Context().Err() == nil {
		time.Sleep(500 * time.Millisecond)
		pods, err := d.cluster.Kube.CoreV1().Pods("").List(d.Context(), metav1.ListOptions{})
		if err != nil {
			continue
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if pod.Status.Phase == corev1.PodPending && pod.Status.ContainerStatuses == nil && (ofJob(pod) || !d.noKubelet.Load()) {
				d.runPod(pod)
			}
		}
	}
}

func ofJob(pod *corev1.Pod) bool { return pod.Labels["job-name"] != "" }

func (d *drills) runPod(pod *corev1.Pod) {
	status := corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	switch container := pod.Spec.Containers[0]; {
	case container.Image == absent:
		state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
		status = corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: container.Name, State: state}}}
	case ofJob(pod):
		status = d.runTest(pod)
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err == nil { // what is gone meanwhile needs none
		_, _ = d.cluster.Kube.CoreV1().Pods(pod.Namespace).Patch(d.Context(), pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	}
}

// absent is an image that cannot be pulled.
const absent = "absent"

func (d *drills) runTest(pod *corev1.Pod) corev1.PodStatus {
	container, ended := pod.Spec.Containers[0], corev1.ContainerState{}
	var out bytes.Buffer
	command := exec.CommandContext(d.Context(), d.program, container.Args...)
	command.Env = []string{"KUBECONFIG=" + d.cluster.Kubeconfig, "DRILL_NAMESPACE=" + pod.Namespace, "DRILL_TEST_STORAGE=" + d.cluster.Storage}
	command.Stdout, command.Stderr = &out, &out
	phase, reason := corev1.PodSucceeded, "Completed"
	if command.Run() != nil {
		phase, reason = corev1.PodFailed, "Error"
	}
	ended.Terminated = &corev1.ContainerStateTerminated{ExitCode: int32(command.ProcessState.ExitCode()), Reason: reason, Message: strings.TrimSpace(out.String())}
	return corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: container.Name, State: ended}}}
}

// testJob writes the manifest of a Job that runs the user's test.
func (d *drills) testJob(namespace, image, what string) string {
	d.Helper()
	file := filepath.Join(d.TempDir(), "test.yaml")
	require.NoError(d, os.WriteFile(file, []byte(`
apiVersion: batch/v1
kind: Job
metadata: {name: orders, namespace: `+namespace+`}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: ask, image: `+image+`, args: [`+what+`]}
`), 0o600))
	return file
}

// jobs begins a drill whose Job runs to a bad end, in the empty namespace too, and one whose
// Job never starts. What is returned waits for their ends.
func (d *drills) jobs() (failed, didNotEnd func()) {
	d.Helper()
	failing := d.begin("levels", "--test-job", d.testJob(alsoDrilled, "test", refuses))
	never := d.begin("levels", "--test-job", d.testJob(alsoDrilled, absent, refuses), "--test-timeout", "10s")
	failed = func() {
		d.Helper()
		told := failing(1)
		require.Equal(d, []string{"test"}, told.failures())
		const why = `Job orders has failed: BackoffLimitExceeded: Job has reached the specified backoff limit; pod orders-\w+ is Failed \(exit code 3, Error: no such order\)$`
		require.Regexp(d, "^1 object missing in an empty namespace; the test fails there: "+why, told.step("able to fail").Detail)
		require.Regexp(d, "^"+why, told.step("test").Detail)
	}
	return failed, func() {
		d.Helper()
		told := never(1)
		require.Equal(d, []string{"test"}, told.failures())
		require.Regexp(d, `^the test did not end in 10s: pod orders-\w+ is Pending \(ImagePullBackOff\)$`, told.step("test").Detail)
	}
}
