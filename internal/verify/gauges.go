package verify

import (
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/metrics"
)

// tally counts what came of a run, for monitoring.
type tally struct {
	begun     time.Time
	failed    bool
	schedules map[string]*ofSchedule
	outcomes  map[string]map[check.Outcome]int // by step
}

// ofSchedule is what came of the backups of a schedule.
type ofSchedule struct {
	seen, failed int
	good         time.Time // when the newest one began that passed; zero if none did
}

func newTally() tally {
	return tally{begun: time.Now(), schedules: map[string]*ofSchedule{"": {}}, outcomes: map[string]map[check.Outcome]int{}}
}

func (t *tally) steps(results []check.Result) {
	for _, r := range results {
		if t.outcomes[r.Step] == nil {
			t.outcomes[r.Step] = map[check.Outcome]int{}
		}
		t.outcomes[r.Step][r.Outcome]++
		t.failed = t.failed || r.Outcome == check.Failed
	}
}

// backup counts a backup. One whose metadata could not be read is of no schedule.
func (t *tally) backup(b *backup) {
	t.steps(b.Results)
	schedule := ""
	if b.meta != nil && len(validation.IsValidLabelValue(b.meta.Schedule())) == 0 {
		schedule = b.meta.Schedule()
	}
	of := t.schedules[schedule]
	if of == nil {
		of = &ofSchedule{}
		t.schedules[schedule] = of
	}
	of.seen++
	switch {
	case !check.Works(b.Results):
		of.failed++
	case b.meta != nil && b.meta.Status.StartTimestamp != nil:
		// A time to come would hide that there is no newer backup.
		if began := *b.meta.Status.StartTimestamp; began.After(of.good) && began.Before(time.Now()) {
			of.good = began
		}
	}
}

// Job is the name of verify's runs in a Pushgateway.
const Job = "longshore_verify"

// Group are the labels that tell the runs over one location from those over others.
func (v *Verifier) Group() []metrics.Label {
	return []metrics.Label{{Name: "bucket", Value: v.l.Bucket()}, {Name: "prefix", Value: strings.TrimSuffix(v.l.Prefix(), "/")}}
}

// Gauges are what the run came to, for monitoring. docs/verify.md lists them.
func (v *Verifier) Gauges() []metrics.Gauge {
	group, now := v.Group(), time.Now()
	one := func(value float64) []metrics.Sample { return []metrics.Sample{{Labels: group, Value: value}} }
	ok := 1.0
	if v.tally.failed {
		ok = 0
	}
	all := []metrics.Gauge{
		{Name: Job + "_ok", Help: "1 if no check of the last run failed, else 0.", Samples: one(ok)},
		{Name: Job + "_timestamp_seconds", Help: "When the last run ended, as a Unix time.", Samples: one(unix(now))},
		{Name: Job + "_duration_seconds", Help: "How long the last run took.", Samples: one(now.Sub(v.tally.begun).Seconds())},
	}
	return append(all, v.tally.gauges(group)...)
}

func (t *tally) gauges(group []metrics.Label) []metrics.Gauge {
	seen := metrics.Gauge{Name: Job + "_backups", Help: "Backups that the last run verified, by schedule; those without one have an empty schedule."}
	failed := metrics.Gauge{Name: Job + "_failed_backups", Help: "Backups of which a check failed in the last run, by schedule."}
	good := metrics.Gauge{Name: Job + "_good_backup_timestamp_seconds", Help: "When the newest backup began that passed the last run, as a Unix time, by schedule."}
	for _, schedule := range slices.Sorted(maps.Keys(t.schedules)) {
		of, labels := t.schedules[schedule], with(group, metrics.Label{Name: "schedule", Value: schedule})
		seen.Samples = append(seen.Samples, metrics.Sample{Labels: labels, Value: float64(of.seen)})
		failed.Samples = append(failed.Samples, metrics.Sample{Labels: labels, Value: float64(of.failed)})
		if !of.good.IsZero() {
			good.Samples = append(good.Samples, metrics.Sample{Labels: labels, Value: unix(of.good)})
		}
	}
	steps := metrics.Gauge{Name: Job + "_checks", Help: "How the checks of the last run ended, over all backups, by check and outcome."}
	for _, step := range slices.Sorted(maps.Keys(t.outcomes)) {
		for _, outcome := range []check.Outcome{check.OK, check.Warning, check.Failed, check.Skipped} {
			labels := with(group, metrics.Label{Name: "check", Value: step}, metrics.Label{Name: "outcome", Value: string(outcome)})
			steps.Samples = append(steps.Samples, metrics.Sample{Labels: labels, Value: float64(t.outcomes[step][outcome])})
		}
	}
	return []metrics.Gauge{seen, failed, good, steps}
}

func with(group []metrics.Label, more ...metrics.Label) []metrics.Label {
	return slices.Concat(group, more)
}

func unix(t time.Time) float64 { return float64(t.Unix()) }
