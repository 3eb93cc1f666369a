package snapshotter

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

// TestClusterHandOverFails: Velero was not given a volume whose hand-over failed, so a
// sweep removes it.
func TestClusterHandOverFails(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	volumeID, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	require.NoError(t, err)
	id, err := ids.ParseNewVolumeID(volumeID)
	require.NoError(t, err)
	hold := func(finalizers string) {
		_, err := b.Kube.CoreV1().PersistentVolumeClaims(b.settings.StagingNamespace).Patch(t.Context(), id.Staging, types.MergePatchType,
			[]byte(`{"metadata": {"finalizers": `+finalizers+`}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	hold(`["longshore.dev/of-a-test"]`)
	soon, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	_, err = b.SetVolumeID(soon, marshal(t, b.template(pv, "restored")), volumeID)
	require.ErrorContains(t, err, "longshore.dev/of-a-test")
	require.DirExists(t, b.volumeDir(id.Handle))
	record, err := b.kube.StorageClasses.Get(t.Context(), id.Staging)
	require.NoError(t, err)
	require.NotEmpty(t, stateOf(record).handedOver, "it failed after it was written down")

	hold("null")
	b.sweepAll()
	require.NoDirExists(t, b.volumeDir(id.Handle))
	b.soonOnlySnapshots(before, 0)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterRestoredBeside: Velero says the old name, and gives the PersistentVolume a new
// one, since the old one is still there. When the copy is gone, nothing is told of it.
func TestClusterRestoredBeside(t *testing.T) {
	b := onCluster(t, nil)
	old := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(old, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	for _, label := range []string{"", "policy.example.com/seen"} { // whose claim somebody labels has a record that stays
		volumeID, err := b.CreateVolumeFromSnapshot(t.Context(), snapshot, old.Spec.StorageClassName, "", nil)
		require.NoError(t, err)
		id, err := ids.ParseNewVolumeID(volumeID)
		require.NoError(t, err)
		staging := b.stagingVolume(id)
		taken, err := b.GetVolumeID(t.Context(), marshal(t, staging))
		require.NoError(t, err)
		require.Empty(t, taken, "a backup does not take the volume of a restore under way")
		if label != "" {
			_, err := b.Kube.CoreV1().PersistentVolumeClaims(b.settings.StagingNamespace).Patch(t.Context(), id.Staging, types.MergePatchType,
				[]byte(`{"metadata": {"labels": {"`+label+`": "yes"}}}`), metav1.PatchOptions{})
			require.NoError(t, err)
		}

		named := b.template(old, "copy")
		copied := named.Name
		named.Name = old.Name
		content, err := b.SetVolumeID(t.Context(), marshal(t, named), volumeID)
		require.NoError(t, err)
		var pv corev1.PersistentVolume
		require.NoError(t, json.Unmarshal(content, &pv))
		pv.Name = copied
		made, err := b.Kube.CoreV1().PersistentVolumes().Create(t.Context(), &pv, metav1.CreateOptions{})
		require.NoError(t, err)
		b.claimedBy(made, "copy")
		require.Equal(t, "first", b.read("copy"))
		require.NoError(t, testbed.Poll(t.Context(), 30*time.Second, "the record to be gone, or to say that the volume is adopted", func(ctx context.Context) (bool, string, error) {
			record, err := b.kube.StorageClasses.Find(ctx, id.Staging)
			return err == nil && (record == nil || label != "" && stateOf(record).adopted), "it is there", err
		}))

		require.NoError(t, b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Delete(t.Context(), "copy", metav1.DeleteOptions{}))
		require.NoError(t, testbed.Poll(t.Context(), 30*time.Second, "the copy to be gone", func(ctx context.Context) (bool, string, error) {
			found, err := b.kube.PersistentVolumes.Find(ctx, copied)
			return err == nil && found == nil, "it is there", err
		}))
		b.sweepAll()
		b.soonOnlySnapshots(before, 0)
	}
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// TestClusterReleaseCutShort: Velero ends the process of a restore before the record is
// removed, and the restored volume is gone when a sweep finds that.
func TestClusterReleaseCutShort(t *testing.T) {
	b := onCluster(t, nil)
	old := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(old, "b1")
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	p, removes := b.apiProxy(), make(chan struct{}, 1)
	p.before = func(r *http.Request) {
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/storageclasses/") {
			select {
			case removes <- struct{}{}:
			default: // it was told
			}
			panic(http.ErrAbortHandler)
		}
	}
	s := b.openVia(p)
	volumeID, err := s.CreateVolumeFromSnapshot(t.Context(), snapshot, old.Spec.StorageClassName, "", nil)
	require.NoError(t, err)
	content, err := s.SetVolumeID(t.Context(), marshal(t, b.template(old, "copy")), volumeID)
	require.NoError(t, err)
	var pv corev1.PersistentVolume
	require.NoError(t, json.Unmarshal(content, &pv))
	made, err := b.Kube.CoreV1().PersistentVolumes().Create(t.Context(), &pv, metav1.CreateOptions{})
	require.NoError(t, err)
	b.claimedBy(made, "copy")
	<-removes
	p.Close()

	require.NoError(t, b.Kube.CoreV1().PersistentVolumeClaims(b.namespace).Delete(t.Context(), "copy", metav1.DeleteOptions{}))
	require.NoError(t, testbed.Poll(t.Context(), 30*time.Second, "the copy to be gone", func(ctx context.Context) (bool, string, error) {
		found, err := b.kube.PersistentVolumes.Find(ctx, made.Name)
		return err == nil && found == nil, "it is there", err
	}))
	id, err := ids.ParseNewVolumeID(volumeID)
	require.NoError(t, err)
	record, err := b.kube.StorageClasses.Get(t.Context(), id.Staging)
	require.NoError(t, err)
	require.NoError(t, b.later().finishHandOver(t.Context(), record), "nobody has to decide")
	b.soonOnlySnapshots(before, 0)
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// stagingVolume is the PersistentVolume of a restore that nobody was given yet.
func (b *bench) stagingVolume(id ids.NewVolumeID) *corev1.PersistentVolume {
	b.Helper()
	claim, err := b.kube.Claims.In(b.settings.StagingNamespace).Get(b.Context(), id.Staging)
	require.NoError(b, err)
	pv, err := b.kube.PersistentVolumes.Get(b.Context(), claim.Spec.VolumeName)
	require.NoError(b, err)
	return pv
}

// TestClusterClaimWithoutSource: a policy of the cluster takes from the staging claim what
// it does not know, so that the driver would make an empty volume.
func TestClusterClaimWithoutSource(t *testing.T) {
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	p, changed := b.apiProxy(), 0
	p.before = func(r *http.Request) {
		if r.Method != http.MethodPost || path.Base(r.URL.Path) != "persistentvolumeclaims" {
			return
		}
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		var claim map[string]any
		require.NoError(t, json.Unmarshal(body, &claim))
		delete(claim["spec"].(map[string]any), "dataSource")
		body = marshal(t, claim)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		changed++
	}
	_, err := b.openVia(p).CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
	require.ErrorContains(t, err, "lost its source")
	require.Equal(t, 1, changed)
	require.False(t, strings.Contains(err.Error(), "left"), "what is left is the sweep's: %v", err)
	b.sweepAll()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}
