package drill

import (
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/metrics"
)

// MetricsJob is the name of drills in a Pushgateway.
const MetricsJob = "longshore_drill"

// Group are the labels that tell the drills of one schedule from those of others.
func (r *Report) Group(l *backups.Location) []metrics.Label {
	return []metrics.Label{
		{Name: "bucket", Value: l.Bucket()}, {Name: "prefix", Value: strings.TrimSuffix(l.Prefix(), "/")}, {Name: "schedule", Value: r.Backup.Schedule},
	}
}

// Gauges are what the drill came to, for monitoring. docs/verify.md lists them.
func (r *Report) Gauges(l *backups.Location) []metrics.Gauge {
	group := r.Group(l)
	one := func(known bool, value float64) []metrics.Sample {
		if !known {
			return nil
		}
		return []metrics.Sample{{Labels: group, Value: value}}
	}
	ok := 0.0
	if r.Passed() {
		ok = 1
	}
	steps := metrics.Gauge{Name: MetricsJob + "_step_seconds", Help: "How long each step of the last drill took, by step and outcome."}
	for _, step := range r.Results {
		labels := append(r.Group(l), metrics.Label{Name: "step", Value: step.Step}, metrics.Label{Name: "outcome", Value: string(step.Outcome)})
		steps.Samples = append(steps.Samples, metrics.Sample{Labels: labels, Value: step.Took.Round(time.Millisecond).Seconds()})
	}
	return []metrics.Gauge{
		{Name: MetricsJob + "_ok", Help: "1 if the last drill passed, else 0.", Samples: one(true, ok)},
		{Name: MetricsJob + "_timestamp_seconds", Help: "When the last drill ended, as a Unix time.", Samples: one(true, float64(time.Now().Unix()))},
		{Name: MetricsJob + "_duration_seconds", Help: "How long the last drill took.", Samples: one(true, r.Took.Round(time.Millisecond).Seconds())},
		{Name: MetricsJob + "_recovery_seconds", Help: "How long the last drill took from the restore until the application was there.", Samples: one(r.Recovery > 0, r.Recovery.Round(time.Millisecond).Seconds())},
		{Name: MetricsJob + "_backup_timestamp_seconds", Help: "When the backup of the last drill began, as a Unix time.", Samples: one(!r.Began.IsZero(), float64(r.Began.Unix()))},
		steps,
	}
}
