package snapshotter

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterProvisionedTwice: whoever touches a claim while csi-provisioner makes
// its volume has it begin once more in the moment in which it is done. It must not
// find the PersistentVolume gone then: it would make another one, of a claim that
// is gone too, and delete the volume that was restored.
func TestClusterProvisionedTwice(t *testing.T) {
	const times = 12
	b := onCluster(t, nil)
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	snapshot := b.snapshotOf(pv, "b1")
	b.rule(testbed.DriverRule{Method: "CreateVolume", Delay: "700ms"})
	for i := range times {
		if i%2 == 0 {
			marking.Delete(testbed.DriverName) // as in a process that has just begun
		}
		var volume string
		b.meanwhile(purposeRestore, b.touchClaim, func() {
			var err error
			volume, err = b.CreateVolumeFromSnapshot(t.Context(), snapshot, pv.Spec.StorageClassName, "", nil)
			require.NoError(t, err)
		})
		_, content := b.adopt(b.Snapshotter, volume, pv, fmt.Sprint("restored-", i))
		require.Equal(t, "first", content)
	}
	time.Sleep(5 * time.Second) // A second time is over then.
	for i := range times {
		require.Equal(t, "first", b.read(fmt.Sprint("restored-", i)))
	}
	log, err := os.ReadFile(b.Process(testbed.CSIProvisioner.Name).Log())
	require.NoError(t, err)
	t.Logf("csi-provisioner began %d times with %d volumes", strings.Count(string(log), `reason="Provisioning"`), times+1)
	b.normalDriver()
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
}

// touchClaim changes the claim of the restore under way, as a policy engine might.
func (b *bench) touchClaim() error {
	claims := b.Kube.CoreV1().PersistentVolumeClaims("velero")
	found, err := claims.List(b.background(), metav1.ListOptions{LabelSelector: labelPurpose + "=" + purposeRestore})
	if err != nil || len(found.Items) == 0 {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	_, err = claims.Patch(b.background(), found.Items[0].Name, types.MergePatchType, []byte(`{"metadata": {"labels": {"touched": "yes"}}}`), metav1.PatchOptions{})
	return err
}
