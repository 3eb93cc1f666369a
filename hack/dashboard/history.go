package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The week that is shown.
var (
	end   = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	begin = end.AddDate(0, 0, -7)
)

// sampled is one series of the history: its value at a time.
type sampled struct {
	name, labels string
	value        func(t time.Time) float64
}

// days are the days since the week began at a time of day, in hours.
func days(t time.Time, hour float64) float64 {
	return math.Floor(t.Sub(begin).Hours()/24 + (12-hour)/24)
}

// bad is a day on which the backup of the night was damaged.
const bad = 3

func on(day float64, yes, no float64) func(time.Time) float64 {
	return func(t time.Time) float64 {
		if days(t, 6) == day {
			return yes
		}
		return no
	}
}

func always(value float64) func(time.Time) float64 {
	return func(time.Time) float64 { return value }
}

// nightly counts one more each night at two.
func nightly(from, more float64) func(time.Time) float64 {
	return func(t time.Time) float64 { return from + more*(days(t, 2)+1) }
}

// drilled is a value of the drill before the last, and then of the last one.
func drilled(before, after float64) func(time.Time) float64 {
	return func(t time.Time) float64 {
		if t.Before(end.Add(-4 * time.Hour)) {
			return before
		}
		return after
	}
}

// good is when the newest good backup began: in the night, but for the bad one.
func good(t time.Time) float64 {
	day := days(t, 6)
	if day == bad {
		day--
	}
	return float64(begin.Add(time.Duration((day*24-10)*float64(time.Hour)) + 0).Unix())
}

const (
	ofLocation = `bucket="backups",prefix="cluster-one"`
	ofSchedule = ofLocation + `,schedule="nightly"`
	ofVelero   = `schedule="nightly"`
)

func all() []sampled {
	return []sampled{
		{"longshore_verify_backups", ofSchedule, func(t time.Time) float64 { return math.Min(7, 4+days(t, 6)) }},
		{"longshore_verify_failed_backups", ofSchedule, on(bad, 1, 0)},
		{"longshore_verify_good_backup_timestamp_seconds", ofSchedule, good},
		{"longshore_verify_timestamp_seconds", ofLocation, func(t time.Time) float64 {
			return float64(begin.Add(time.Duration((days(t, 6)*24 - 6 + 0.1) * float64(time.Hour))).Unix())
		}},
		{"longshore_verify_checks", ofLocation + `,check="archive",outcome="failed"`, on(bad, 1, 0)},
		{"longshore_verify_checks", ofLocation + `,check="log",outcome="warning"`, on(5, 2, 1)},
		{"longshore_drill_ok", ofSchedule, always(1)},
		{"longshore_drill_recovery_seconds", ofSchedule, drilled(48.2, 52.7)},
		{"longshore_drill_step_seconds", ofSchedule + `,step="restore",outcome="ok"`, drilled(31, 33)},
		{"longshore_drill_step_seconds", ofSchedule + `,step="claims",outcome="ok"`, drilled(6, 8)},
		{"longshore_drill_step_seconds", ofSchedule + `,step="workloads",outcome="ok"`, drilled(11, 12)},
		{"longshore_drill_step_seconds", ofSchedule + `,step="clean up",outcome="ok"`, drilled(14, 15)},
		{"longshore_drill_step_seconds", ofSchedule + `,step="test",outcome="ok"`, drilled(2, 3)},
		{"velero_backup_success_total", ofVelero, nightly(40, 1)},
		{"velero_backup_partial_failure_total", ofVelero, func(t time.Time) float64 { return math.Min(1, math.Max(0, days(t, 2)-1)) }},
		{"velero_backup_failure_total", ofVelero, always(0)},
		{"velero_volume_snapshot_success_total", ofVelero, nightly(800, 20)},
		{"velero_volume_snapshot_failure_total", ofVelero, func(t time.Time) float64 { return math.Min(2, 2*math.Max(0, days(t, 2)-1)) }},
		{"velero_backup_tarball_size_bytes", ofVelero, func(t time.Time) float64 { return 6.1e6 + 9e4*days(t, 2) }},
		{"velero_backup_location_status_gauge", `backup_location_name="default"`, always(1)},
	}
}

// history is the week in the format of OpenMetrics, as a Prometheus collects it that
// looks every four minutes.
func history() string {
	var text strings.Builder
	name := ""
	for _, s := range all() {
		if s.name != name {
			name = s.name
			fmt.Fprintf(&text, "# TYPE %s unknown\n", name)
		}
		for t := begin.AddDate(0, 0, -1); !t.After(end); t = t.Add(4 * time.Minute) {
			fmt.Fprintf(&text, "%s{%s} %v %d\n", s.name, s.labels, s.value(t), t.Unix())
		}
	}
	text.WriteString("# EOF\n")
	return text.String()
}
