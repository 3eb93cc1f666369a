package drill

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

func TestHeldBy(t *testing.T) {
	var namespace object
	require.NoError(t, json.Unmarshal([]byte(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "status": {"phase": "Terminating", "conditions": [
		{"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "All resources successfully discovered"},
		{"type": "NamespaceContentRemaining", "status": "True", "message": "Some resources are remaining: configmaps. has 1 resource instances"},
		{"type": "NamespaceFinalizersRemaining", "status": "True", "message": "Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances"}]}}`), &namespace))
	require.Equal(t, []string{
		"Some resources are remaining: configmaps. has 1 resource instances",
		"Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances",
	}, heldBy(&namespace))
	require.Empty(t, heldBy(&object{Object: map[string]any{}}))
}

// TestAfterwards: what is over by its time is still told, what a person interrupts is not.
func TestAfterwards(t *testing.T) {
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	within, done := afterwards(over)
	defer done()
	require.NoError(t, within.Err())

	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	within, done = afterwards(interrupted)
	defer done()
	require.ErrorIs(t, within.Err(), context.Canceled)
}

// TestVolumesOfGoneNamespaces: a volume is of the drill when its namespace is gone, too, and
// one that was there before is told at once, and left.
func TestVolumesOfGoneNamespaces(t *testing.T) {
	released := func(name string, annotations map[string]string) corev1.PersistentVolume {
		pv := volumeOf(name, name)
		pv.Annotations = annotations
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "drill-abcd2345-shop", Name: "data", UID: "u"}
		pv.Status.Phase = corev1.VolumeReleased
		return *pv
	}
	ours, strangers := released("ours", map[string]string{annotationProvisionedBy: "d"}), released("strangers", nil)
	ours.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	other := released("other", nil)
	other.Spec.ClaimRef.Namespace = "drill-abcd2345x-shop"
	volumes := corev1.PersistentVolumeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeList"}}
	c := answering(t, func(r *http.Request) string {
		require.Equal(t, http.MethodGet, r.Method, "nothing is changed")
		text, err := json.Marshal(volumes)
		require.NoError(t, err)
		return string(text)
	})
	volumes.Items = []corev1.PersistentVolume{other}
	require.NoError(t, c.volumesGone(t.Context(), "abcd2345"))

	volumes.Items = []corev1.PersistentVolume{ours, other}
	within, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, c.volumesGone(within, "abcd2345"), "last seen: PersistentVolume ours is Released")

	volumes.Items = []corev1.PersistentVolume{ours, strangers}
	err := c.volumesGone(t.Context(), "abcd2345")
	require.ErrorContains(t, err, "PersistentVolume strangers is Released: neither the drill's Restore nor a provisioner made it; it is left alone")
	require.NotContains(t, err.Error(), "ours")
}

// TestMarkersAskTheControlAgain: what a controller brings into each namespace proves nothing,
// however late it does.
func TestMarkersAskTheControlAgain(t *testing.T) {
	there := map[string]bool{"drill-abcd2345-shop": true}
	c := answeringWith(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if namespace := strings.Split(r.URL.Path, "/")[4]; !there[namespace] {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`))
			return
		}
		_, _ = w.Write([]byte(`{}`))
	})
	settings := Marker{"shop", "configmaps", "settings"}
	d := &drill{Cluster: c, there: []Marker{settings}, report: Report{Drill: "abcd2345", Namespaces: map[string]string{"shop": "drill-abcd2345-shop"}}}
	detail, err := d.markers(t.Context())
	require.NoError(t, err)
	require.Equal(t, "1 there, 0 missing, as they must be", detail)

	there["drill-abcd2345"] = true
	_, err = d.markers(t.Context())
	require.ErrorContains(t, err, "shop/configmaps/settings is in the empty namespace too: it proves nothing")
	require.True(t, check.IsFinding(err))
}
