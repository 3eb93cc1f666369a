package snapshotter

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	hundred = 100
	workers = 8 // as many as Velero's --item-block-worker-count might say
)

// TestClusterHundredVolumes backs up, restores and deletes a hundred volumes, eight
// at once, and prints what a volume took in each quarter of the work. The cluster's
// sidecars may send more requests than the five a second that are their default,
// by which all volumes together would wait for minutes.
func TestClusterHundredVolumes(t *testing.T) {
	onCluster(t, nil) // starts the bed
	limits := []string{"--kube-api-qps=100", "--kube-api-burst=200"}
	cluster, err := shared.bed.StartCluster(t.Context(), testbed.ClusterOptions{
		Name: "many",
		Args: map[string][]string{testbed.CSISnapshotter.Name: limits, testbed.CSIProvisioner.Name: limits, testbed.SnapshotController.Name: limits},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Kill()) })
	b := benchOn(t, cluster, nil)
	before, err := b.Leftovers(t.Context())
	require.NoError(t, err)
	pvs, snapshots, volumes := make([]*pvType, hundred), make([]string, hundred), make([]string, hundred)
	began := time.Now()
	eightAtOnce(func(i int) {
		pvs[i] = b.claimed(testbed.ClaimOptions{Name: fmt.Sprintf("data-%02d", i)}, fmt.Sprintf("content %d", i))
	})
	require.False(t, t.Failed(), "no volumes to begin with")
	t.Logf("%d volumes are there after %s", hundred, time.Since(began))

	report := table{"what a volume took, by when it was begun", "first 25", "second 25", "third 25", "last 25", "all, in seconds"}
	report = append(report, b.quarters("backup", func(i int) (err error) {
		snapshots[i], err = b.CreateSnapshot(t.Context(), b.volumeID(pvs[i]), "", map[string]string{tagBackup: "many"})
		return err
	})...)
	b.soonOnlySnapshots(before, hundred)
	report = append(report, b.quarters("restore", func(i int) (err error) {
		volumes[i], err = b.CreateVolumeFromSnapshot(t.Context(), snapshots[i], pvs[i].Spec.StorageClassName, "", nil)
		return err
	})...)
	eightAtOnce(func(i int) {
		_, content := b.adopt(b.Snapshotter, volumes[i], pvs[i], fmt.Sprintf("restored-%02d", i))
		if want := fmt.Sprintf("content %d", i); content != want {
			t.Errorf("volume %d holds %q instead of %q", i, content, want)
		}
	})
	report = append(report, b.quarters("deletion", func(i int) error { return b.DeleteSnapshot(t.Context(), snapshots[i]) })...)
	b.soonOnlySnapshots(before, 0)
	t.Log(report.String())
}

// quarters does a hundred pieces of work and returns the line of the table.
func (b *bench) quarters(name string, work func(i int) error) []string {
	b.Helper()
	took := make([]time.Duration, hundred)
	began := time.Now()
	eightAtOnce(func(i int) {
		started := time.Now()
		if err := work(i); err != nil {
			b.Errorf("%s %d: %v", name, i, err)
		}
		took[i] = time.Since(started)
	})
	all := time.Since(began)
	require.False(b, b.Failed())
	line := []string{name}
	for quarter := 0; quarter < hundred; quarter += hundred / 4 {
		var sum time.Duration
		for _, t := range took[quarter : quarter+hundred/4] {
			sum += t
		}
		line = append(line, fmt.Sprintf("%.2f s", (sum/(hundred/4)).Seconds()))
	}
	return append(line, fmt.Sprintf("%.1f", all.Seconds()))
}

// table is cells in lines of six.
type table []string

func (t table) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for i, cell := range t {
		end := "\t"
		if i%6 == 5 {
			end = "\n"
		}
		fmt.Fprint(w, cell, end)
	}
	_ = w.Flush() // Into memory.
	return "\n" + text.String()
}

// eightAtOnce calls work for each of the hundred, in their order.
func eightAtOnce(work func(i int)) {
	next := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range next {
				work(i)
			}
		})
	}
	for i := range hundred {
		next <- i
	}
	close(next)
	all.Wait()
}
