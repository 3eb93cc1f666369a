// Package check tells a person whether a location works, step by step: what was
// tried, what came of it, and what to do about it.
//
// A check leaves nothing behind that it made, also when it is interrupted.
package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Outcome is what came of a step.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Warning Outcome = "warning" // it works, and will be regretted
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is a step that was taken.
type Result struct {
	Step    string        `json:"step"`
	Outcome Outcome       `json:"outcome"`
	Took    time.Duration `json:"-"`
	// Detail says in one sentence what was found, or what failed.
	Detail string `json:"detail,omitempty"`
	// Hint says what to do about it; it may have several lines.
	Hint string `json:"hint,omitempty"`
}

// Observer is told of the steps as they are taken.
type Observer interface {
	Begin(step string)
	End(result Result)
}

// Run is a check under way. A step that failed does not end it: what does not
// depend on that step is still worth knowing.
type Run struct {
	observer Observer
	Results  []Result
}

// finding is how a step ends that did not just succeed. As an error it keeps
// the functions of the steps to one result.
type finding struct {
	outcome      Outcome
	detail, hint string
}

func (f *finding) Error() string { return f.detail }

// Warn says what will be regretted.
func Warn(detail, hint string) error { return &finding{Warning, detail, hint} }

// Skip says why a step was not taken.
func Skip(detail string) error { return &finding{Skipped, detail, ""} }

// Fail says what is wrong and what to do about it.
func Fail(detail, hint string) error { return &finding{Failed, detail, hint} }

// IsFinding tells whether err is of Warn, Skip or Fail.
func IsFinding(err error) bool {
	var f *finding
	return errors.As(err, &f)
}

// NewRun returns a Run that tells the observer of its steps.
func NewRun(observer Observer) Run { return Run{observer: observer} }

// Step takes a step and returns whether the steps that need it can be taken.
func (r *Run) Step(ctx context.Context, name string, do func(ctx context.Context) (detail string, err error)) bool {
	r.observer.Begin(name)
	began := time.Now()
	detail, err := "", ctx.Err()
	if err == nil {
		detail, err = do(ctx)
	}
	result := Result{Step: name, Outcome: OK, Took: time.Since(began), Detail: detail}
	var found *finding
	switch {
	case errors.As(err, &found):
		result.Outcome, result.Detail, result.Hint = found.outcome, found.detail, found.hint
	case ctx.Err() != nil:
		result.Outcome, result.Detail = Failed, "interrupted"
	case err != nil:
		result.Outcome, result.Detail = Failed, err.Error()
	}
	result.Detail, result.Hint = strings.Map(shown, result.Detail), strings.Map(shown, result.Hint) // names of objects are anybody's
	r.Results = append(r.Results, result)
	r.observer.End(result)
	return result.Outcome == OK || result.Outcome == Warning
}

// count returns how many steps ended so.
func count(results []Result, outcome Outcome) int {
	n := 0
	for _, r := range results {
		if r.Outcome == outcome {
			n++
		}
	}
	return n
}

// Works tells whether no step failed.
func Works(results []Result) bool { return count(results, Failed) == 0 }

// CleanUpNotice tells somebody who interrupts a check of "objectstore" or
// "snapshotter" what it does before it ends, how long that may take, and what a
// second Ctrl-C leaves behind.
func CleanUpNotice(kind string) string {
	limit, names := cleanUpTimeout, objectPrefix
	if kind == "snapshotter" {
		limit, names = fullTimeout, trialPrefix
	}
	return fmt.Sprintf("removing what the check made, for %s at most; Ctrl-C once more ends it at once, and leaves what is named %s...", limit, names)
}
