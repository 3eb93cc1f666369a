package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestDrillOriginals has backups lose their list of snapshots. Velero then restores the
// volumes as they were (pkg/restore/pv_restorer.go). A drill begins no restore of such a
// backup, and where the list is lost after it has looked, it leaves the volume alone: its
// application is gone, and with it the object of the volume, which nobody else has.
func TestDrillOriginals(t *testing.T) {
	d := newDrills(t)
	file := d.keptVolume("ledger")
	veleroCLI(t, d.velero, "backup", "create", "ledger", "--include-namespaces", "ledger")
	require.NoError(t, d.velero.WaitBackup(t.Context(), "ledger", waitLimit))
	d.loseApplication("ledger")

	command, reached, ending := d.paused("ledger", "--clean-up-timeout", "20s", "--", d.program, pausesFirst)
	d.await("the test in the empty namespace", func() bool { return exists(reached) })
	d.loseSnapshots("ledger")
	id := d.drillOf(command)
	require.NoError(t, os.Remove(reached))
	told := ending(1)
	require.Equal(t, []string{"restore", "clean up"}, told.failures(), "%+v", told.Steps)
	require.Contains(t, told.step("restore").Detail, "the volume that the backup is of, and not a copy")
	require.Contains(t, told.step("clean up").Detail, "is left alone, and with it the claim: it is the volume that the backup is of")
	claim, err := d.cluster.Kube.CoreV1().PersistentVolumeClaims(scratchOf(id, "ledger")).Get(t.Context(), "data", metav1.GetOptions{})
	require.NoError(t, err)
	pv, err := d.cluster.Kube.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.PersistentVolumeReclaimRetain, pv.Spec.PersistentVolumeReclaimPolicy)
	require.FileExists(t, file)

	told = d.run(1, "ledger", "--clean-up-timeout", "20s")
	require.Equal(t, []string{"archive"}, told.failures(), "%+v", told.Steps)
	require.Contains(t, told.step("archive").Detail, "a restore would give these claims the original volumes, not copies: ledger/data")
	require.FileExists(t, file)
}

// keptVolume makes a namespace with a claim whose class keeps the volume, and returns a
// file in there.
func (d *drills) keptVolume(namespace string) (file string) {
	d.Helper()
	require.NoError(d, d.cluster.CreateNamespace(d.Context(), namespace))
	_, err := d.cluster.CreateClaim(d.Context(), testbed.ClaimOptions{Namespace: namespace, Name: "data", Class: testbed.ClassRetain})
	require.NoError(d, err)
	dir, err := d.cluster.ClaimDir(d.Context(), namespace, "data")
	require.NoError(d, err)
	file = filepath.Join(dir, "file")
	require.NoError(d, os.WriteFile(file, []byte(order), 0o600))
	return file
}

// loseApplication deletes a namespace, and the object of its volume. The volume stays in
// the storage.
func (d *drills) loseApplication(namespace string) {
	d.Helper()
	volumes := d.cluster.Kube.CoreV1().PersistentVolumes()
	claim, err := d.cluster.Kube.CoreV1().PersistentVolumeClaims(namespace).Get(d.Context(), "data", metav1.GetOptions{})
	require.NoError(d, err)
	require.NoError(d, d.cluster.DeleteNamespace(d.Context(), namespace))
	require.NoError(d, volumes.Delete(d.Context(), claim.Spec.VolumeName, metav1.DeleteOptions{}))
	d.await("the PersistentVolume to go", func() bool {
		_, err := volumes.Get(d.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func (d *drills) loseSnapshots(backup string) {
	d.Helper()
	client, err := d.s3.Client()
	require.NoError(d, err)
	require.NoError(d, client.RemoveObject(d.Context(), drillBucket, "backups/"+backup+"/"+backup+"-volumesnapshots.json.gz", minio.RemoveObjectOptions{}))
}
