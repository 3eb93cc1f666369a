package drill

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// Drilled is the annotation of a Backup that tells when it was last drilled and what
// came of it: "2026-01-01T02:00:00Z passed", or failed with the steps that did.
const Drilled = "longshore.dev/drilled"

// record writes the verdict to the Backup: as an annotation, and as an Event. ctx is
// the one that Ctrl-C ends, which leaves nothing to tell.
func (d *drill) record(ctx, done context.Context) (string, error) {
	if ctx.Err() != nil {
		return "", check.Skip("the drill was interrupted")
	}
	done, cancel := context.WithTimeout(done, requestTimeout)
	defer cancel()
	now := time.Now()
	verdict, reason := verdictOf(d.Results, d.report.Recovery)
	_, err := d.backups.Edit(done, d.object, func(*object) (kube.Patch, error) {
		return kube.Patch{"metadata": map[string]any{"annotations": map[string]any{Drilled: now.UTC().Format(time.RFC3339) + " " + verdict}}}, nil
	})
	if err != nil {
		return "", check.Warn(err.Error(), "the verdict stands here alone")
	}
	if err := d.event(done, now, reason, verdict); err != nil {
		return "", check.Warn("Backup "+d.name+" has the annotation "+Drilled+", and no Event: "+err.Error(), "a drill needs the right to make Events in namespace "+d.Namespace)
	}
	return verdict + ": Backup " + d.name + " has the annotation " + Drilled + " and an Event", nil
}

// verdictOf says in a few words what came of the steps, and in one for the Event.
func verdictOf(results []check.Result, recovery time.Duration) (verdict, reason string) {
	var failed []string
	for _, r := range results {
		if r.Outcome == check.Failed {
			failed = append(failed, r.Step)
		}
	}
	if len(failed) > 0 {
		return "failed: " + strings.Join(failed, ", "), "DrillFailed"
	}
	return "passed, restored in " + recovery.Round(time.Second).String(), "DrillPassed"
}

func (d *drill) event(ctx context.Context, now time.Time, reason, verdict string) error {
	level := "Normal"
	if reason != "DrillPassed" {
		level = "Warning"
	}
	name := fmt.Sprintf("%s.%x", d.name, now.UnixNano())
	event := &object{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event", "type": level, "reason": reason, "message": verdict, "count": int64(1),
		"source":         map[string]any{"component": "velero-plugin-longshore"},
		"firstTimestamp": now.UTC().Format(time.RFC3339), "lastTimestamp": now.UTC().Format(time.RFC3339),
		"involvedObject": map[string]any{
			"apiVersion": "velero.io/v1", "kind": "Backup", "namespace": d.Namespace, "name": d.name,
			"uid": string(d.object.GetUID()), "resourceVersion": d.object.GetResourceVersion(),
		},
	}}
	event.SetName(name)
	event.SetNamespace(d.Namespace)
	_, err := d.events.In(d.Namespace).Create(ctx, event)
	return err
}

// Passed tells whether a drill was made to its end and nothing failed.
func (r *Report) Passed() bool { return r.Recovery > 0 && check.Works(r.Results) }
