package snapshotter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// TestClusterFollowAuto follows the snapshots of a driver until one could be restored at
// once, and again after one that could not.
func TestClusterFollowAuto(t *testing.T) {
	b := onCluster(t, nil)
	b.forgetDrivers()
	pv := b.claimed(testbed.ClaimOptions{Name: "data"}, "first")
	for _, c := range []struct {
		backup, ready         string
		in                    time.Duration
		followed, left, waits bool
		atOnce                bool // is noted afterwards
	}{
		{backup: "unknown", followed: true, atOnce: true},
		{backup: "known", atOnce: true},
		{backup: "late", ready: "5s", waits: true},
		{backup: "late-again", ready: "1h", followed: true, left: true},
		{backup: "soon-after", followed: true},
		{backup: "long-after", in: lateFor + time.Hour, followed: true, atOnce: true},
		{backup: "known-again", in: lateFor + 2*time.Hour, atOnce: true},
	} {
		require.NoError(t, b.ControlDriver(testbed.DriverControl{SnapshotReadyDelay: c.ready}))
		s := b.open(nil)
		s.now = func() time.Time { return time.Now().Add(c.in) }
		s = s.WithOperations(NewOperations(s.now())) // as in a process of its own
		operation, err := s.Follow(t.Context(), c.backup, marshal(t, pv))
		require.NoError(t, err)
		require.Equal(t, c.followed, operation != "", c.backup)

		began := time.Now()
		snapshot, err := s.CreateSnapshot(t.Context(), b.volumeID(pv), "", map[string]string{tagBackup: c.backup})
		require.NoError(t, err)
		if c.waits {
			require.Greater(t, time.Since(began), 5*time.Second, c.backup)
		}
		require.Equal(t, c.left, operation != "" && len(b.contentsOf(operation)) == 1, c.backup)
		again, err := s.Follow(t.Context(), c.backup, marshal(t, pv))
		require.NoError(t, err)
		require.Equal(t, c.followed || c.waits, again != "", "the next one of the backup: "+c.backup)
		notes, err := s.DriverNotes(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.atOnce, notes[testbed.DriverName].AtOnce, c.backup)
		require.WithinDuration(t, s.now(), notes[testbed.DriverName].At, lateFor, c.backup)
		require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	}
	require.NoError(t, b.ControlDriver(testbed.DriverControl{}))
}

// TestClusterDriverNotesOfAnother leaves a ConfigMap alone that it did not make, and waits.
func TestClusterDriverNotesOfAnother(t *testing.T) {
	b := onCluster(t, nil)
	b.forgetDrivers()
	maps := b.Kube.CoreV1().ConfigMaps("velero")
	another, err := maps.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: driverNotesName},
		Data:       map[string]string{testbed.DriverName: DriverNote{AtOnce: true, At: time.Now()}.text()},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	defer b.forgetDrivers()
	snapshot, _ := b.follow(b.claimed(testbed.ClaimOptions{Name: "data"}, "first"), "b", "1h")
	require.NoError(t, b.DeleteSnapshot(t.Context(), snapshot))
	now, err := maps.Get(t.Context(), driverNotesName, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, another.ResourceVersion, now.ResourceVersion)
	require.NoError(t, b.ControlDriver(testbed.DriverControl{}))
}

// forgetDrivers removes what the tests before have noted.
func (b *bench) forgetDrivers() {
	b.Helper()
	err := b.Kube.CoreV1().ConfigMaps("velero").Delete(b.background(), driverNotesName, metav1.DeleteOptions{})
	require.True(b, err == nil || apierrors.IsNotFound(err), "%v", err)
}
