package testbed

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestClusterInTheField looks at each condition that a test may put a cluster into.
func TestClusterInTheField(t *testing.T) {
	realParts(t)
	bed := ForTest(t)
	cluster, err := bed.StartCluster(t.Context(), ClusterOptions{Zones: []string{"zone-a", "zone-b"}, ExtraCreateMetadata: true})
	require.NoError(t, err)
	require.NoError(t, cluster.CreateNamespace(t.Context(), "app"))

	t.Run("what others have", func(t *testing.T) { othersHave(t, cluster) })
	t.Run("volume watchers", func(t *testing.T) { volumeWatchers(t, cluster) })
	t.Run("lost webhook", func(t *testing.T) { webhookLost(t, cluster) })
	t.Run("renamed driver", func(t *testing.T) { driverRenamed(t, cluster) })
	t.Run("volume attributes", func(t *testing.T) { volumeAttributes(t, cluster) })
	t.Run("copying driver", func(t *testing.T) { driverCopies(t, cluster) })
	t.Run("topology keys", func(t *testing.T) { keysGone(t, cluster) })
	t.Run("nothing left", func(t *testing.T) { nothingLeft(t, cluster) })
}

func othersHave(t *testing.T, c *Cluster) {
	begun := time.Now()
	foreign, err := c.AddForeign(t.Context(), ForeignOptions{})
	require.NoError(t, err)
	t.Logf("it took %s", time.Since(begun).Round(time.Millisecond))
	available, err := foreign.Available(t.Context())
	require.NoError(t, err)
	require.Len(t, available, 8)
	require.NoError(t, foreign.Verify(t.Context()))

	for _, class := range []string{ClassImmediate, ClassRetain, ClassWaitForFirstConsumer} {
		claim, err := c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "own-" + class, Class: class})
		require.NoError(t, err)
		require.Equal(t, "pvc-"+string(claim.UID), claim.Spec.VolumeName)
	}
	require.NoError(t, foreign.Verify(t.Context()))
	handle, err := foreign.liveHandle(t.Context())
	require.NoError(t, err)
	require.NoError(t, foreign.AddSnapshotOf(t.Context(), "again", handle, false))

	takeSnapshot(t, c, "own-"+ClassImmediate)
	claim, err := c.createClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "unlucky", Snapshot: "own-" + ClassImmediate})
	require.NoError(t, err)
	require.Contains(t, available, claim.Spec.VolumeName, "a claim with a data source gets a volume of others")
	require.ErrorContains(t, foreign.Verify(t.Context()), "persistentvolumes "+claim.Spec.VolumeName)
	changed := foreign.folders[slices.IndexFunc(foreign.folders, func(folder string) bool {
		_, err := os.Stat(filepath.Join(folder, "data")) // not the raw block volume
		return err == nil
	})]
	require.NoError(t, os.WriteFile(filepath.Join(changed, "data", "file"), []byte("changed"), 0o600))
	require.ErrorContains(t, foreign.Verify(t.Context()), "files in "+filepath.Base(changed))
	require.NoError(t, c.Kube.CoreV1().PersistentVolumeClaims("app").Delete(t.Context(), "unlucky", metav1.DeleteOptions{}))
	require.NoError(t, foreign.Remove(t.Context()))
	require.NoError(t, c.deleteReleased(t.Context(), "own-"+ClassRetain))
}

// deleteReleased ends a claim, its kept volume and the data.
func (c *Cluster) deleteReleased(ctx context.Context, claim string) error {
	made, err := c.Kube.CoreV1().PersistentVolumeClaims("app").Get(ctx, claim, metav1.GetOptions{})
	if err != nil {
		return err
	}
	f := &Foreign{cluster: c}
	if err := f.setPolicy(ctx, made.Spec.VolumeName, corev1.PersistentVolumeReclaimDelete); err != nil {
		return err
	}
	return c.Kube.CoreV1().PersistentVolumeClaims("app").Delete(ctx, claim, metav1.DeleteOptions{})
}

// volumeWatchers lets go of a volume as the end of a restore does: the staging
// PersistentVolume is kept, its claim is deleted, and then the object itself.
func volumeWatchers(t *testing.T, c *Cluster) {
	letGo := func(name string) *corev1.PersistentVolume {
		claim, err := c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: name})
		require.NoError(t, err)
		f := &Foreign{cluster: c}
		pv, err := c.Kube.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		require.NoError(t, err)
		require.NoError(t, f.setFree(t.Context(), foreignVolume{claim: ClaimOptions{Name: name, Namespace: "app"}}, pv.Name))
		require.NoError(t, c.Kube.CoreV1().PersistentVolumes().Delete(t.Context(), pv.Name, metav1.DeleteOptions{}))
		return pv
	}
	gone := func(pv *corev1.PersistentVolume) bool {
		_, err := os.Stat(c.volumeFolder(pv.Spec.CSI.VolumeHandle))
		return os.IsNotExist(err)
	}

	stop, err := c.WatchVolumes(t.Context(), LikeMayastor)
	require.NoError(t, err)
	pv := letGo("mayastor")
	require.Eventually(t, func() bool { return gone(pv) }, 10*time.Second, 50*time.Millisecond)
	deeds, err := stop()
	require.NoError(t, err)
	require.Contains(t, deeds, "deleted the volume of PersistentVolume "+pv.Name)

	pv = letGo("unclaimed")
	require.False(t, gone(pv))
	stop, err = c.WatchVolumes(t.Context(), VolumeWatcher{CollectUnclaimed: true})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return gone(pv) }, 10*time.Second, 50*time.Millisecond)
	deeds, err = stop()
	require.NoError(t, err)
	require.Equal(t, []string{"collected volume " + pv.Name}, deeds)

	stop, err = c.WatchVolumes(t.Context(), LikeVSphere)
	require.NoError(t, err)
	pv = letGo("vsphere")
	require.Eventually(t, func() bool { return gone(pv) }, 10*time.Second, 50*time.Millisecond)
	again := func(name string, attributes map[string]string) {
		fresh := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *pv.Spec.DeepCopy()}
		fresh.Spec.ClaimRef, fresh.Spec.CSI.VolumeAttributes = nil, attributes
		fresh.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
		_, err := c.Kube.CoreV1().PersistentVolumes().Create(t.Context(), fresh, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	require.Contains(t, pv.Spec.CSI.VolumeAttributes, provisionerIdentity)
	again("as-made", pv.Spec.CSI.VolumeAttributes)
	time.Sleep(300 * time.Millisecond)
	require.True(t, gone(pv), "one that csi-provisioner made is not registered")
	again("static", nil)
	require.Eventually(t, func() bool { return !gone(pv) }, 10*time.Second, 50*time.Millisecond)
	_, err = stop()
	require.NoError(t, err)
	for _, name := range []string{"as-made", "static"} {
		require.NoError(t, c.Kube.CoreV1().PersistentVolumes().Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	require.NoError(t, os.RemoveAll(c.volumeFolder(pv.Spec.CSI.VolumeHandle)))
}

func webhookLost(t *testing.T, c *Cluster) {
	end, err := c.LoseWebhook(t.Context(), "persistentvolumeclaims")
	require.NoError(t, err)
	_, err = c.createClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "refused"})
	require.ErrorContains(t, err, "failed calling webhook")
	require.NoError(t, end(t.Context()))
	_, err = c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "accepted"})
	require.NoError(t, err)
}

func driverRenamed(t *testing.T, c *Cluster) {
	const renamed = "renamed.longshore.dev"
	require.NoError(t, c.AddDriver(t.Context(), DriverOptions{Name: renamed}))
	claim, err := c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "renamed", Class: renamed})
	require.NoError(t, err)
	pv, err := c.Kube.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, renamed, pv.Spec.CSI.Driver)
	require.DirExists(t, filepath.Join(c.Storage, "volumes", pv.Spec.CSI.VolumeHandle))
	calls, err := c.DriverCalls()
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(calls, func(call DriverCall) bool { return call.Driver == renamed && call.ResultID == pv.Spec.CSI.VolumeHandle }))
}

func volumeAttributes(t *testing.T, c *Cluster) {
	claim, err := c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "golden", AttributesClass: AttributesGold})
	require.NoError(t, err)
	stored, err := c.StoredVolumes()
	require.NoError(t, err)
	i := slices.IndexFunc(stored, func(v StoredVolume) bool { return v.Name == claim.Spec.VolumeName })
	require.Equal(t, map[string]string{"tier": "gold"}, stored[i].Mutable)
	require.Equal(t, "golden", stored[i].Parameters["csi.storage.k8s.io/pvc/name"], "--extra-create-metadata")
}

func driverCopies(t *testing.T, c *Cluster) {
	_, err := c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "copied"})
	require.NoError(t, err)
	takeSnapshot(t, c, "copied")
	require.NoError(t, c.ControlDriver(DriverControl{Copying: DriverCopying{Time: "3s", Code: "Internal", Message: "still copying"}}))
	begun := time.Now()
	_, err = c.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "copy", Snapshot: "copied"})
	require.NoError(t, err)
	require.Greater(t, time.Since(begun), 3*time.Second)
	require.NoError(t, c.ControlDriver(DriverControl{}))
	calls, err := c.DriverCalls()
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(calls, func(call DriverCall) bool { return call.Code == "Internal" && call.Message == "still copying" }))
}

func keysGone(t *testing.T, c *Cluster) {
	node := NodeName("zone-b")
	require.NoError(t, c.SetTopologyKeys(t.Context(), node))
	object, err := c.Kube.StorageV1().CSINodes().Get(t.Context(), node, metav1.GetOptions{})
	require.NoError(t, err)
	require.Empty(t, object.Spec.Drivers[len(object.Spec.Drivers)-1].TopologyKeys)
	require.NoError(t, c.SetTopologyKeys(t.Context(), node, TopologyKey))
}

func TestDriverWithoutTopology(t *testing.T) {
	realParts(t)
	bed := ForTest(t)
	cluster, err := bed.StartCluster(t.Context(), ClusterOptions{NoTopology: true})
	require.NoError(t, err)
	require.NoError(t, cluster.CreateNamespace(t.Context(), "app"))
	claim, err := cluster.CreateClaim(t.Context(), ClaimOptions{Namespace: "app", Name: "data"})
	require.NoError(t, err)
	pv, err := cluster.Kube.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, pv.Spec.NodeAffinity)
}
