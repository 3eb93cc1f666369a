package drill

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNotReady(t *testing.T) {
	for _, c := range []struct{ kind, text, want string }{
		{"Deployment", `{"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 2}, "status": {"observedGeneration": 2, "readyReplicas": 2}}`, ""},
		{"Deployment", `{"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 2}, "status": {"observedGeneration": 2, "readyReplicas": 1}}`, "Deployment web has 1 of 2 pods ready"},
		{"Deployment", `{"metadata": {"name": "web", "generation": 1}, "spec": {}, "status": {}}`, "Deployment web is not yet seen by its controller"},
		{"Deployment", `{"metadata": {"name": "web", "generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}}`, ""},
		{"StatefulSet", `{"metadata": {"name": "db", "generation": 1}, "spec": {}, "status": {"observedGeneration": 1}}`, "StatefulSet db has 0 of 1 pods ready"},
		{"DaemonSet", `{"metadata": {"name": "log", "generation": 1}, "status": {"observedGeneration": 1, "desiredNumberScheduled": 3, "numberReady": 2}}`, "DaemonSet log has 2 of 3 pods ready"},
		{"pod", `{"metadata": {"name": "p"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}`, ""},
		{"pod", `{"metadata": {"name": "p"}, "status": {"phase": "Succeeded"}}`, ""},
		{"pod", `{"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}`, "pod p is Pending (ImagePullBackOff)"},
		{"pod", `{"metadata": {"name": "p"}, "status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3, "reason": "Error", "message": "no orders"}}}]}}`, "pod p is Failed (exit code 3, Error: no orders)"},
		{"pod", `{"metadata": {"name": "p", "ownerReferences": [{"controller": true}]}, "status": {"phase": "Pending"}}`, ""},
	} {
		var w workload
		require.NoError(t, json.Unmarshal([]byte(c.text), &w))
		require.Equal(t, c.want, w.notReady(c.kind), c.text)
	}
}

func TestUnbound(t *testing.T) {
	claim := func(name string, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
	}
	list := []*corev1.PersistentVolumeClaim{claim("a", corev1.ClaimBound), claim("b", corev1.ClaimPending), claim("not of the backup", corev1.ClaimPending)}
	require.Equal(t, []string{"claim b is Pending", "claim c is not there"}, unbound([]string{"a", "b", "c"}, list))
	require.Empty(t, unbound([]string{"a"}, list))
}

// TestLacking: of a workload that is not ready its pods are told, of one that is they are not.
func TestLacking(t *testing.T) {
	ready := 0
	c := answering(t, func(r *http.Request) string {
		switch r.URL.Path {
		case "/apis/apps/v1/namespaces/shop/deployments":
			return fmt.Sprintf(`{"items": [{"metadata": {"name": "web"}, "status": {"readyReplicas": %d}}]}`, ready)
		case "/api/v1/namespaces/shop/pods":
			return `{"items": [{"metadata": {"name": "web-a", "ownerReferences": [{"controller": true}]}, "status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}]}`
		}
		return `{"items": []}`
	})
	d := &drill{Cluster: c}
	lacking, all, err := d.lacking(t.Context(), "shop")
	require.NoError(t, err)
	require.Equal(t, 2, all)
	require.Equal(t, []string{"Deployment web has 0 of 1 pods ready", "pod web-a is Pending (ImagePullBackOff)"}, lacking)
	ready = 1
	lacking, _, err = d.lacking(t.Context(), "shop")
	require.NoError(t, err)
	require.Empty(t, lacking)
}
