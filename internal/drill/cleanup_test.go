package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
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
	within, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorContains(t, c.volumesGone(within, "abcd2345"), "last seen: PersistentVolume ours is Released")

	volumes.Items = []corev1.PersistentVolume{ours, strangers}
	err := c.volumesGone(t.Context(), "abcd2345")
	require.ErrorContains(t, err, "PersistentVolume strangers is Released: neither the drill's Restore nor a provisioner made it; it is left alone")
	require.NotContains(t, err.Error(), "ours")
}

// snapshotContent is one that a Restore made. Its UID is that of its name.
func snapshotContent(name, restore, namespace string, policy snapshotv1.DeletionPolicy) snapshotv1.VolumeSnapshotContent {
	return snapshotv1.VolumeSnapshotContent{
		TypeMeta:   metav1.TypeMeta{APIVersion: "snapshot.storage.k8s.io/v1", Kind: "VolumeSnapshotContent"},
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid of " + name), ResourceVersion: "1", Labels: map[string]string{labelRestore: restore}},
		Spec:       snapshotv1.VolumeSnapshotContentSpec{DeletionPolicy: policy, VolumeSnapshotRef: corev1.ObjectReference{Namespace: namespace}},
	}
}

// withContents is a cluster that has only VolumeSnapshotContents, of which it deletes what it
// is asked to. Before that it calls meanwhile, whose change is a conflict.
func withContents(t *testing.T, meanwhile func(*snapshotv1.VolumeSnapshotContent), all ...snapshotv1.VolumeSnapshotContent) (c *Cluster, deleted *[]string) {
	t.Helper()
	deleted = new([]string)
	find := func(path string) int {
		return slices.IndexFunc(all, func(o snapshotv1.VolumeSnapshotContent) bool { return strings.HasSuffix(path, "/"+o.Name) })
	}
	c = answeringWith(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		tell := func(answer any) { require.NoError(t, json.NewEncoder(w).Encode(answer)) }
		list := snapshotv1.VolumeSnapshotContentList{TypeMeta: metav1.TypeMeta{APIVersion: "snapshot.storage.k8s.io/v1", Kind: "VolumeSnapshotContentList"}}
		switch i := find(r.URL.Path); {
		case r.Method == http.MethodDelete:
			var options metav1.DeleteOptions
			require.NoError(t, json.NewDecoder(r.Body).Decode(&options))
			require.Equal(t, all[i].UID, *options.Preconditions.UID)
			meanwhile(&all[i])
			if all[i].ResourceVersion != *options.Preconditions.ResourceVersion {
				w.WriteHeader(http.StatusConflict)
				tell(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonConflict, Code: http.StatusConflict})
				return
			}
			*deleted = append(*deleted, all[i].Name)
			all = slices.Delete(all, i, i+1)
			tell(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess})
		case i >= 0:
			tell(all[i])
		case r.URL.Query().Get("watch") != "": // it has gone on, and has to be listed
			w.WriteHeader(http.StatusGone)
		case strings.HasSuffix(r.URL.Path, "/volumesnapshotcontents"):
			selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
			require.NoError(t, err)
			for _, o := range all {
				if field := r.URL.Query().Get("fieldSelector"); selector.Matches(labels.Set(o.Labels)) && (field == "" || field == "metadata.name="+o.Name) {
					list.Items = append(list.Items, o)
				}
			}
			tell(list)
		case strings.HasSuffix(r.URL.Path, "/persistentvolumes"):
			fmt.Fprint(w, `{"apiVersion": "v1", "kind": "PersistentVolumeList", "items": []}`)
		default:
			fmt.Fprint(w, `{"apiVersion": "v1", "kind": "List", "items": []}`)
		}
	})
	return c, deleted
}

// TestSnapshotContents: those that the drill's Restore made go, if their snapshots stay.
func TestSnapshotContents(t *testing.T) {
	const restore, scratch = "longshore-drill-abcd2345", "drill-abcd2345-shop"
	ours := snapshotContent("ours", restore, scratch, snapshotv1.VolumeSnapshotContentRetain)
	others := []snapshotv1.VolumeSnapshotContent{
		snapshotContent("others", "nightly", scratch, snapshotv1.VolumeSnapshotContentRetain),
		snapshotContent("elsewhere", restore, "shop", snapshotv1.VolumeSnapshotContentRetain),
		snapshotContent("with-its-snapshot", restore, scratch, snapshotv1.VolumeSnapshotContentDelete),
	}
	c, deleted := withContents(t, func(*snapshotv1.VolumeSnapshotContent) {}, append(others, ours)...)
	removed, err := c.remove(t.Context(), "abcd2345", time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{"ours"}, *deleted)
	require.Equal(t, "0 Restores, 0 namespaces and 0 volumes, and 1 object of the cluster", removed)

	c, deleted = withContents(t, func(o *snapshotv1.VolumeSnapshotContent) {
		o.ResourceVersion, o.Spec.DeletionPolicy = "2", snapshotv1.VolumeSnapshotContentDelete
	}, ours)
	_, err = c.remove(t.Context(), "abcd2345", time.Minute)
	require.ErrorContains(t, err, "delete VolumeSnapshotContent ours: it was changed, and is not the drill's any more")
	require.Empty(t, *deleted)

	none := answeringWith(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	n, err := none.removeContents(t.Context(), "abcd2345")
	require.NoError(t, err, "the cluster does not have the kind")
	require.Zero(t, n)
}

// TestStubs: a VolumeGroupSnapshotContent is removed only if it is as Velero makes it for a
// Restore.
func TestStubs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*kube.GroupSnapshotContent)
		is     bool
	}{
		"as Velero makes it": {func(*kube.GroupSnapshotContent) {}, true},
		"its group would go": {func(o *kube.GroupSnapshotContent) { o.Spec.DeletionPolicy = snapshotv1.VolumeSnapshotContentDelete }, false},
		"it takes snapshots": {func(o *kube.GroupSnapshotContent) {
			o.Spec.Source = kube.GroupSnapshotSource{VolumeHandles: []string{"v"}}
		}, false},
		"of another Restore": {func(o *kube.GroupSnapshotContent) { o.Labels[labelRestore] = "nightly" }, false},
		"bound":              {func(o *kube.GroupSnapshotContent) { o.Spec.Ref.UID = "u" }, false},
		"of another's name":  {func(o *kube.GroupSnapshotContent) { o.Spec.Ref.Name = "stub-vgs-76543210" }, false},
		"with a short name":  {func(o *kube.GroupSnapshotContent) { o.Name = "0123" }, false},
		"of a real snapshot": {func(o *kube.GroupSnapshotContent) { o.Spec.Ref.Name = "orders" }, false},
	} {
		o := kube.GroupSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "0123456789abcdef", Labels: map[string]string{labelRestore: "longshore-drill-abcd2345"}}}
		o.Spec.DeletionPolicy = snapshotv1.VolumeSnapshotContentRetain
		o.Spec.Source.Handles = &kube.GroupSnapshotHandles{Group: "g", Snapshots: []string{"s"}}
		o.Spec.Ref = corev1.ObjectReference{Namespace: "shop", Name: "stub-vgs-01234567"}
		c.change(&o)
		require.Equal(t, c.is, isStub("abcd2345", &o), name)
	}
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
