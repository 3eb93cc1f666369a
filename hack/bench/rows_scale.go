package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// scale is what a Velero looks through each minute: locations, and backups in each.
type scale struct{ locations, backups int }

func (s scale) String() string {
	if s.locations == 1 {
		return fmt.Sprintf("%d backups", s.backups)
	}
	return fmt.Sprintf("%d locations of %d backups", s.locations, s.backups)
}

// scaleGroups have a new Velero find the backups, and then leave it alone.
func scaleGroups(quick bool) []group {
	scales := []scale{{1, 1000}, {1, 10_000}, {20, 10}}
	if quick {
		scales = []scale{{1, 200}, {5, 10}}
	}
	var all []group
	for _, s := range scales {
		all = append(all, group{"scale " + s.String(), func(ctx context.Context, b *bench) ([]row, error) {
			return measureScale(ctx, b, s)
		}})
	}
	return all
}

func measureScale(ctx context.Context, b *bench, s scale) (rows []row, err error) {
	s3, err := b.server(ctx, servers()[0], false)
	if err != nil {
		return nil, err
	}
	if err := s.fill(ctx, s3); err != nil {
		return nil, err
	}
	bed, err := testbed.New(testbed.Options{Dir: filepath.Dir(b.bed.Dir())}) // which ends with its cluster
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	cluster, err := bed.StartCluster(ctx, testbed.ClusterOptions{})
	if err != nil {
		return nil, err
	}
	var idle []*idleVelero
	for _, p := range []program{b.ours, b.peer} {
		v, err := s.install(ctx, bed, cluster, s3, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		defer v.requests.Close()
		idle = append(idle, v)
	}
	rows = s.rows()
	if err := s.syncInTurn(ctx, idle, rows); err != nil {
		return nil, err
	}
	return rows, s.watch(ctx, idle, rows[1:], b.pick(1, 5))
}

func (s scale) rows() []row {
	minute := fmt.Sprintf("a minute of an idle Velero, %s: ", s)
	return besidePeer([]row{
		{Name: fmt.Sprintf("a new Velero finds %s, from the first to the last", s), Unit: "s"},
		{Name: minute + "processor time of the plugin", Unit: "s"},
		{Name: minute + "requests", Unit: "1"},
		{Name: minute + "starts of the plugin", Unit: "1"},
		{Name: minute + "memory, peak of a plugin", Unit: "MB"},
	})
}

// prefix is the folder of a location, the first of which is Velero's default.
func (s scale) prefix(location int) string {
	return fmt.Sprintf("scale-%d-%d/%d", s.locations, s.backups, location)
}

// fill stores the backups, each as far as Velero reads it to know it.
func (s scale) fill(ctx context.Context, s3 *testbed.S3) error {
	for location := range s.locations {
		err := fillWith(ctx, s3, s.prefix(location)+"/backups", s.backups, func(i int) (name string, content []byte, err error) {
			name = fmt.Sprintf("backup-%02d-%05d", location, i)
			content, err = json.Marshal(velerov1.Backup{
				TypeMeta:   metav1.TypeMeta{APIVersion: velerov1.SchemeGroupVersion.String(), Kind: "Backup"},
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "velero"},
				Status: velerov1.BackupStatus{
					Phase: velerov1.BackupPhaseCompleted, FormatVersion: "1.1.0", Expiration: &metav1.Time{Time: time.Now().AddDate(0, 1, 0)},
				},
			})
			return name, content, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// idleVelero is a Velero with one of the plugins, whose requests are counted.
type idleVelero struct {
	*testbed.VeleroServer
	plugin   program
	requests *counter
}

func (s scale) install(ctx context.Context, bed *testbed.Bed, cluster *testbed.Cluster, s3 *testbed.S3, p program) (*idleVelero, error) {
	requests, err := startCounter(s3.Endpoint)
	if err != nil {
		return nil, err
	}
	v := &idleVelero{plugin: p, requests: requests}
	v.VeleroServer, err = bed.InstallVelero(ctx, cluster, testbed.VeleroOptions{
		Namespace: map[bool]string{true: "velero", false: "velero-peer"}[p.name == ours], S3: s3, Bucket: bucket, Prefix: s.prefix(0),
		BackupConfig: map[string]string{"s3Url": requests.URL}, Provider: p.provider, Plugins: []string{p.path},
		InstallArgs: []string{"--use-volume-snapshots=false"},
	})
	if err == nil {
		err = s.addLocations(ctx, v)
	}
	if err != nil {
		requests.Close()
	}
	return v, err
}

// addLocations makes the locations beside the default one, which are as it is.
func (s scale) addLocations(ctx context.Context, v *idleVelero) error {
	locations := v.Objects("backupstoragelocations")
	first, err := locations.Get(ctx, testbed.DefaultLocation, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for i := 1; i < s.locations; i++ {
		another := first.DeepCopy()
		another.SetResourceVersion("")
		another.SetUID("")
		another.SetName(fmt.Sprintf("location-%02d", i))
		spec := another.Object["spec"].(map[string]any) //nolint:forcetypeassert // `velero install` made it
		delete(spec, "default")
		storage := maps.Clone(spec["objectStorage"].(map[string]any)) //nolint:forcetypeassert // see above
		storage["prefix"] = s.prefix(i)
		spec["objectStorage"] = storage
		if _, err := locations.Create(ctx, another, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// syncInTurn times how long each Velero takes from the first backup that it knows to the
// last one. Only one runs at a time; all run afterwards.
func (s scale) syncInTurn(ctx context.Context, idle []*idleVelero, rows []row) error {
	for _, v := range idle {
		if err := v.Serve(ctx); err != nil {
			return err
		}
		if err := s.awaitKnown(ctx, v, 1); err != nil { // Velero begins when its first minute is over
			return err
		}
		began := time.Now()
		if err := s.awaitKnown(ctx, v, s.locations*s.backups); err != nil {
			return err
		}
		took := time.Since(began)
		rows[0].Samples[v.plugin.name] = []float64{took.Seconds()}
		progress("%s: %s found in %s", v.plugin.name, s, took.Round(time.Second))
		if err := v.Stop(); err != nil {
			return err
		}
	}
	for _, v := range idle {
		if err := v.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// awaitKnown waits until a Velero knows so many backups.
func (s scale) awaitKnown(ctx context.Context, v *idleVelero, want int) error {
	err := poll(ctx, 20*time.Minute, func() (string, error) {
		found, err := v.Objects("backups").List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return "", err
		}
		known := len(found.Items)
		if more := found.GetRemainingItemCount(); more != nil {
			known += int(*more)
		}
		if known < want {
			return fmt.Sprintf("%d of %d backups are known", known, want), nil
		}
		return "", nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", v.plugin.name, err)
	}
	return nil
}

// watch takes what each Velero's plugin costs in a minute, on an average of some: the
// minutes in which a Velero looks for new backups are not the same for both.
func (s scale) watch(ctx context.Context, idle []*idleVelero, rows []row, minutes int) error {
	if err := pause(ctx, time.Minute); err != nil { // what a start costs is over
		return err
	}
	var all []*watched
	for _, v := range idle {
		w, err := startWatching(ctx, v.PID())
		if err != nil {
			return err
		}
		v.requests.count.Store(0)
		all = append(all, w)
	}
	if err := pause(ctx, time.Duration(minutes)*time.Minute); err != nil {
		return err
	}
	for i, v := range idle {
		cost, err := all[i].end()
		if err != nil {
			return err
		}
		n := float64(minutes)
		for j, figure := range []float64{cost.processor.Seconds() / n, float64(v.requests.count.Load()) / n, float64(cost.starts) / n, cost.memory} {
			rows[j].Samples[v.plugin.name] = []float64{figure}
		}
	}
	return nil
}
