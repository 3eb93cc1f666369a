package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

// format is the only form of archive that Velero has had.
const format = "1."

// synced are the phases of which Velero makes a Backup, at once or when it expires
// (Velero, pkg/controller/backup_sync_controller.go).
var synced = []string{
	backups.PhaseCompleted, backups.PhasePartiallyFailed, "Failed",
	"WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed", "Finalizing", "FinalizingPartiallyFailed",
}

func (b *backup) metadata(ctx context.Context) (string, error) {
	m, err := b.l.Metadata(ctx, b.name)
	if err != nil {
		b.useless = isDamage(err)
		if b.useless && b.has(backups.PartArchive) {
			err = check.Fail(err.Error(), lost+"; "+keep)
		}
		return "", err
	}
	if m.Kind != "Backup" || m.Metadata.Name != b.name {
		b.useless = true
		return "", check.Fail(fmt.Sprintf("it is of %s %q", m.Kind, m.Metadata.Name), mixed)
	}
	b.meta, b.useless = m, !slices.Contains(synced, m.Status.Phase)
	if err := b.phase(); err != nil {
		return "", err
	}
	return b.times()
}

func (b *backup) phase() error {
	s := &b.meta.Status
	switch s.Phase {
	case backups.PhaseCompleted, backups.PhasePartiallyFailed:
		return nil
	case "Failed", "FailedValidation":
		reasons := slices.Concat(s.ValidationErrors, []string{s.FailureReason})
		return check.Fail(strings.TrimSuffix("phase "+s.Phase+": "+few(reasons, "; "), ": "), "Velero restores nothing from it; make a new backup")
	case "Deleting":
		return check.Fail("phase Deleting", "somebody has asked Velero to delete it, and Velero has begun")
	}
	return check.Fail(fmt.Sprintf("phase %q: Velero has not finished it", s.Phase),
		"Velero restores nothing from it: verify it again when it is finished, or make a new backup if Velero ended meanwhile")
}

func (b *backup) times() (string, error) {
	s := &b.meta.Status
	var f findings
	switch {
	case s.StartTimestamp == nil || s.CompletionTimestamp == nil:
		f.fail("it does not say when it was begun and completed")
	case s.CompletionTimestamp.Before(*s.StartTimestamp):
		f.fail("it was completed before it was begun")
	}
	if !strings.HasPrefix(s.FormatVersion, format) {
		f.fail("its format %q is not known to this release", s.FormatVersion)
	}
	if b.meta.Expired() {
		f.warn("it has expired on %s: Velero deletes it when it runs", s.Expiration.UTC().Format(time.DateTime))
	}
	if s.Phase == backups.PhasePartiallyFailed {
		f.warn("PartiallyFailed with %s: some of it is not in it", check.Count(s.Errors, "error"))
	}
	return f.end(b.summary(), "read what is wrong: velero-plugin-longshore logs "+b.name)
}

func (b *backup) summary() string {
	s := &b.meta.Status
	if s.StartTimestamp == nil || s.CompletionTimestamp == nil {
		return s.Phase
	}
	return fmt.Sprintf("%s on %s in %s", s.Phase, s.CompletionTimestamp.UTC().Format(time.DateTime), s.CompletionTimestamp.Sub(*s.StartTimestamp))
}

// completed tells whether nothing may be missing.
func (b *backup) completed() bool {
	return b.meta != nil && b.meta.Status.Phase == backups.PhaseCompleted
}

// lacks notes what is not in the backup: a failure, unless its phase says so.
func (b *backup) lacks(f *findings, format string, args ...any) {
	if b.completed() {
		f.fail(format, args...)
	} else {
		f.warn(format, args...)
	}
}

// log wants the log to name the backup: each line of Velero's does, as
// backup=NAMESPACE/NAME or "backup":"NAMESPACE/NAME".
func (b *backup) log(ctx context.Context) (string, error) {
	name := &search{any: [][]byte{[]byte("/" + b.name + " "), []byte("/" + b.name + `"`), []byte("/" + b.name + "\n")}}
	if err := b.l.WriteLog(ctx, name, b.name); err != nil {
		return "", err
	}
	if name.lines > 0 && !name.found {
		return "", check.Fail("it does not name this backup: it is the log of another one", mixed)
	}
	if name.lines == 0 {
		return "", check.Warn("it is empty", "a restore does not need it")
	}
	return check.Count(name.lines, "line"), nil
}

// search looks for texts in what is written to it, also across two writes.
type search struct {
	any   [][]byte
	tail  []byte
	found bool
	lines int
}

func (s *search) Write(p []byte) (int, error) {
	s.lines += bytes.Count(p, []byte("\n"))
	if s.found {
		return len(p), nil
	}
	text := slices.Concat(s.tail, p)
	keep := 0
	for _, one := range s.any {
		s.found = s.found || bytes.Contains(text, one)
		keep = max(keep, len(one)-1)
	}
	s.tail = bytes.Clone(text[max(0, len(text)-keep):])
	return len(p), nil
}

func (b *backup) results(ctx context.Context) (string, error) {
	r, err := b.l.Results(ctx, b.name)
	if err != nil {
		return "", err
	}
	var f findings
	errs, warnings := r.Errors.Count(), r.Warnings.Count()
	if b.meta != nil && len(b.ops) == 0 { // operations add to the counts, not to the results
		if errs != b.meta.Status.Errors {
			f.fail("it has %s, the metadata count %d", check.Count(errs, "error"), b.meta.Status.Errors)
		}
		if warnings != b.meta.Status.Warnings {
			f.warn("it has %s, the metadata count %d", check.Count(warnings, "warning"), b.meta.Status.Warnings)
		}
	}
	return f.end(check.Count(errs, "error")+", "+check.Count(warnings, "warning"), mixed)
}

func (b *backup) operations(ctx context.Context) (string, error) {
	ops, err := b.l.Operations(ctx, b.name)
	if err != nil {
		return "", err
	}
	b.ops = ops
	var f findings
	for i := range ops {
		b.belongs(&f, "an operation", ops[i].Spec.BackupName, ops[i].Spec.BackupUID)
		if phase := ops[i].Status.Phase; phase != backups.PhaseCompleted {
			b.lacks(&f, "an operation is %s: %s", phase, ops[i].Status.Error)
		}
	}
	if b.meta != nil && len(ops) != b.meta.Status.OperationsAttempted {
		f.fail("it has %s, the metadata count %d", check.Count(len(ops), "operation"), b.meta.Status.OperationsAttempted)
	}
	return f.end(check.Count(len(ops), "operation"), mixed)
}

// belongs wants an entry of a list to be of this backup.
func (b *backup) belongs(f *findings, what, name, uid string) {
	switch {
	case name != b.name:
		f.fail("%s is of backup %q", what, name)
	case b.meta != nil && uid != b.meta.Metadata.UID:
		f.fail("%s is of another backup of this name, with UID %q", what, uid)
	}
}

func (b *backup) items(ctx context.Context) (string, error) {
	items, err := b.l.ResourceList(ctx, b.name)
	if err != nil {
		return "", err
	}
	total := 0
	for _, of := range items {
		total += len(of)
	}
	b.list = items
	b.done(backups.PartResourceList)
	var f findings
	if b.meta != nil && b.meta.Status.Progress != nil && total != b.meta.Status.Progress.ItemsBackedUp {
		f.fail("it has %s, the metadata count %d", check.Count(total, "item"), b.meta.Status.Progress.ItemsBackedUp)
	}
	if len(f.bad) == 0 && total == 0 {
		return "", check.Warn("nothing is in this backup", "look at the namespaces and the filters of the backup or its schedule")
	}
	return f.end(fmt.Sprintf("%s of %s", check.Count(total, "item"), check.Count(len(items), "kind")), mixed)
}
