package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// snapshotPatience bounds the wait for one backup, restore or deletion: the
// built-in path takes about five seconds for each volume.
const snapshotPatience = 20 * time.Minute

// workerCounts are Velero's default --item-block-worker-count, which backs up one
// volume after the other, and one at which several are under way.
var workerCounts = []int{1, 8}

// snapshotGroups back up, restore and delete namespaces of so many volumes.
func snapshotGroups(quick bool) []group {
	counts := []int{10, 20, 100}
	if quick {
		counts = counts[:1]
	}
	var all []group
	for _, workers := range workerCounts {
		for _, n := range counts {
			all = append(all, group{snapshotGroup(n, workers), func(ctx context.Context, b *bench) ([]row, error) {
				return measureSnapshots(ctx, b, n, workers)
			}})
		}
	}
	return all
}

func snapshotGroup(volumes, workers int) string {
	name := fmt.Sprintf("snapshots %d", volumes)
	if workers > 1 {
		name += fmt.Sprintf(" by %d workers", workers)
	}
	return name
}

// snapshotRows are the seconds that each of the three steps takes, and the
// requests to the Kubernetes API that it makes everybody send for each volume.
func snapshotRows(volumes int) []row {
	return []row{
		{Name: fmt.Sprintf("backup of %d volumes", volumes), Unit: "s"},
		{Name: fmt.Sprintf("restore of %d volumes", volumes), Unit: "s"},
		{Name: fmt.Sprintf("deletion of a backup of %d volumes", volumes), Unit: "s"},
		{Name: "API requests of a backup", Unit: "a volume"},
		{Name: "API requests of a restore", Unit: "a volume"},
		{Name: "API requests of a deletion", Unit: "a volume"},
	}
}

// snapshotRounds is how often: a round of a hundred volumes takes half an hour.
func (b *bench) snapshotRounds(volumes int) int {
	if b.quick || volumes > 20 {
		return 1
	}
	return 2
}

func measureSnapshots(ctx context.Context, b *bench, volumes, workers int) ([]row, error) {
	if b.cluster == nil {
		bed, err := startSnapshotBed(ctx, b)
		if err != nil {
			return nil, err
		}
		b.cluster = bed
	}
	started, err := b.cluster.serve(ctx, workers)
	if err != nil {
		return nil, err
	}
	namespace := fmt.Sprintf("volumes-%d-%d", volumes, workers)
	if err := b.cluster.makeVolumes(ctx, namespace, volumes); err != nil {
		return nil, err
	}
	all := sessions{{program: program{name: ours}}, {program: program{name: builtinPath}}, {program: program{name: builtinPolling}}}
	rows := snapshotRows(volumes)
	rows, err = inTurn(ctx, b.snapshotRounds(volumes), all, rows, func(s *session, round int) ([]float64, error) {
		name := s.program.name
		if len(rows[0].Samples[name]) < round {
			return nil, nil // it failed in a round before
		}
		job := job{
			bed: b.cluster, velero: started[name],
			namespace: namespace, volumes: volumes, backup: fmt.Sprintf("%s-%d", namespace, round), ours: name == ours,
		}
		return job.takeOrAgain(ctx)
	})
	if err != nil {
		return nil, err
	}
	return append(against(builtinPath, rows), against(builtinPolling, rows)...), b.cluster.DeleteNamespace(ctx, namespace)
}

// against are the rows compared with that rival, without figures of it if it failed
// in a round: those of the others would be the ones that happened to succeed.
func against(rival string, rows []row) []row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Rival = rival
		if len(rows[i].Samples[rival]) < len(rows[i].Samples[ours]) {
			rows[i].Samples = maps.Clone(rows[i].Samples)
			delete(rows[i].Samples, rival)
		}
	}
	return rows
}

// job is one backup, its restore and its deletion by one Velero.
type job struct {
	bed       *snapshotBed
	velero    *testbed.VeleroServer
	namespace string
	volumes   int
	backup    string
	ours      bool
}

// takeOrAgain is take, of another backup where a rival's fails: the built-in path with
// frequent polling and several workers often runs out of its own client's rate
// limit. That it did is printed; the figures are of backups that succeeded, and none
// if each failed.
func (j job) takeOrAgain(ctx context.Context) ([]float64, error) {
	first := j.backup
	for try := range j.tries() {
		if try > 0 {
			j.backup = fmt.Sprintf("%s-%d", first, try)
		}
		figures, err := j.take(ctx)
		if failed := new(backupFailedError); !errors.As(err, &failed) || j.ours {
			return figures, err
		}
		progress("  %s: the backup failed, try %d of %d: %.300s", j.velero.Namespace, try+1, j.tries(), err)
		if err := j.delete(ctx); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// tries is how many backups may fail: one of a hundred volumes takes minutes.
func (j job) tries() int {
	if j.volumes > 20 {
		return 2
	}
	return 4
}

// backupFailedError says that a backup did not end as Completed.
type backupFailedError struct{ error }

// take returns the figures of snapshotRows.
func (j job) take(ctx context.Context) ([]float64, error) {
	var seconds, requests []float64
	for _, step := range []struct {
		name        string
		before, run func(context.Context) error
	}{
		{"backup", nil, j.backUp},
		{"restore", func(ctx context.Context) error { return j.bed.loseVolumes(ctx, j.namespace) }, j.restore},
		{"deletion", func(ctx context.Context) error { return j.bed.checkVolumes(ctx, j.namespace, j.volumes) }, j.delete},
	} {
		if step.before != nil {
			if err := step.before(ctx); err != nil {
				return nil, fmt.Errorf("before the %s: %w", step.name, err)
			}
		}
		began := time.Now()
		if err := step.run(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
		took := time.Since(began)
		sent, by, err := j.bed.requests(began)
		if err != nil {
			return nil, err
		}
		progress("  %s: %s %s; requests to the API: %s", j.velero.Namespace, step.name, took.Round(100*time.Millisecond), by)
		seconds = append(seconds, took.Seconds())
		requests = append(requests, float64(sent)/float64(j.volumes))
	}
	return append(seconds, requests...), nil
}

func (j job) backUp(ctx context.Context) error {
	if _, err := j.velero.CLI(ctx, "backup", "create", j.backup, "--include-namespaces", j.namespace); err != nil {
		return err
	}
	if err := j.velero.WaitBackup(ctx, j.backup, snapshotPatience); err != nil {
		return &backupFailedError{err}
	}
	left, err := j.bed.Leftovers(ctx)
	if err == nil && len(left.StorageSnapshots) != j.volumes {
		err = fmt.Errorf("the backup is Completed with %d snapshots instead of %d", len(left.StorageSnapshots), j.volumes)
	}
	return err
}

func (j job) restore(ctx context.Context) error {
	if _, err := j.velero.CLI(ctx, "restore", "create", j.backup, "--from-backup", j.backup); err != nil {
		return err
	}
	if err := j.velero.WaitRestore(ctx, j.backup, snapshotPatience); err != nil {
		return err
	}
	for i := range j.volumes {
		if _, err := j.bed.WaitBound(ctx, j.namespace, claimName(i)); err != nil {
			return err
		}
	}
	return nil
}

// delete is over when Velero has forgotten the backup and its snapshots are gone.
func (j job) delete(ctx context.Context) error {
	if _, err := j.velero.CLI(ctx, "backup", "delete", j.backup, "--confirm"); err != nil {
		return err
	}
	return poll(ctx, snapshotPatience, func() (string, error) {
		_, err := j.velero.Status(ctx, "backups", j.backup)
		switch gone, err := notFound(err); {
		case err != nil:
			return "", err
		case !gone:
			return "Velero still has the backup", nil
		}
		left, err := j.bed.Leftovers(ctx)
		if err != nil || len(left.StorageSnapshots) == 0 {
			return "", err
		}
		return fmt.Sprintf("%d snapshots are left", len(left.StorageSnapshots)), nil
	})
}
