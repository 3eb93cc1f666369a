package drill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/metrics"
)

// TestGauges: a drill that failed before anything came back has no time of recovery.
func TestGauges(t *testing.T) {
	l := backups.At(nil, "b", "p/")
	began := time.Unix(1795000000, 0)
	passed := &Report{
		Results: []check.Result{{Step: "restore", Outcome: check.OK, Took: 1500 * time.Millisecond}, {Step: "test", Outcome: check.Skipped}},
		Backup:  Backup{Name: "nightly-1", Schedule: "nightly"}, Began: began, Recovery: 2 * time.Second, Took: 3 * time.Second,
	}
	text := string(metrics.Text(passed.Gauges(l)))
	for _, line := range []string{
		`longshore_drill_ok{bucket="b",prefix="p",schedule="nightly"} 1`,
		`longshore_drill_duration_seconds{bucket="b",prefix="p",schedule="nightly"} 3`,
		`longshore_drill_recovery_seconds{bucket="b",prefix="p",schedule="nightly"} 2`,
		`longshore_drill_backup_timestamp_seconds{bucket="b",prefix="p",schedule="nightly"} 1795000000`,
		`longshore_drill_step_seconds{bucket="b",prefix="p",schedule="nightly",step="restore",outcome="ok"} 1.5`,
		`longshore_drill_step_seconds{bucket="b",prefix="p",schedule="nightly",step="test",outcome="skipped"} 0`,
	} {
		require.Contains(t, text, line+"\n")
	}
	failed := &Report{Results: []check.Result{{Step: "backup", Outcome: check.Failed}}}
	text = string(metrics.Text(failed.Gauges(l)))
	require.Contains(t, text, `longshore_drill_ok{bucket="b",prefix="p",schedule=""} 0`)
	require.NotContains(t, text, "longshore_drill_recovery_seconds{")
	require.NotContains(t, text, "longshore_drill_backup_timestamp_seconds{")
}
