package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
)

const describeUsage = `velero-plugin-longshore describe BACKUP [flags]

Tells what is in a backup: when it was made and how it ended, the kinds of its
items, its volumes with their snapshots and sizes, its errors and warnings. It
is read from the storage alone; Velero need not run.

  velero-plugin-longshore describe nightly-20260101020000
  velero-plugin-longshore describe nightly-20260101020000 -o json

Exit status: 0 all of it could be read, 1 not all, 2 it could not begin.
`

func runDescribe(args []string, stdout, stderr io.Writer) int {
	r := newReading("describe", describeUsage, stdout, stderr)
	r.addOutput(r.flags)
	return r.run(args, one("backup"), func(ctx context.Context, l *opened, args []string) error {
		end := r.progress(stderr, "reading the backup")
		d, err := l.Describe(ctx, args[0])
		end()
		if d == nil || ctx.Err() != nil {
			return err
		}
		return errors.Join(r.describe(d, l.subject), err)
	})
}

func (r *reading) describe(d *backups.Description, subject string) error {
	if r.output == "json" {
		return writeJSON(r.stdout, d)
	}
	t := check.TerminalOf(r.stdout)
	var text bytes.Buffer
	fmt.Fprintln(&text, t.Bold("Backup "+d.Name)+" in "+subject)
	fmt.Fprintln(&text)
	writeFacts(&text, facts(d))
	writeKinds(&text, d.Kinds)
	writeVolumes(&text, d.Volumes)
	writeMessages(&text, "Errors", d.Errors)
	writeMessages(&text, "Warnings", d.Warnings)
	_, err := text.WriteTo(t)
	return err
}

// writeJSON writes a value for a program.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// fact is a line of a description.
type fact struct{ what, is string }

func facts(d *backups.Description) []fact {
	known := func(part string, n int) string {
		if slices.Contains(d.Unread, part) {
			return "unknown"
		}
		return fmt.Sprint(n)
	}
	return []fact{
		{"phase", cmp.Or(d.Phase, "unknown")},
		{"why", strings.Join(d.FailureReasons, "; ")},
		{"started", moment(d.Started)},
		{"completed", moment(d.Completed)},
		{"expires", moment(d.Expires)},
		{"schedule", d.Schedule},
		{"kubernetes", d.Kubernetes},
		{"namespaces", strings.Join(d.Namespaces, ", ")},
		{"items", known("items", d.Items)},
		{"volumes", known("volumes", len(d.Volumes))},
		{"errors", known("messages", d.Errors.Count())},
		{"warnings", known("messages", d.Warnings.Count())},
	}
}

func writeFacts(w io.Writer, all []fact) {
	for _, f := range all {
		if f.is != "" {
			fmt.Fprintf(w, "%-12s %s\n", f.what, brief(f.is, 1000))
		}
	}
}

func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func writeKinds(w io.Writer, kinds []backups.Kind) {
	if len(kinds) == 0 {
		return
	}
	var rows [][]string
	for _, k := range kinds {
		rows = append(rows, []string{brief(k.Type, nameWidth), fmt.Sprint(k.Items)})
	}
	_ = writeTable(w, []string{"\nKIND", "ITEMS"}, rows) // into memory
}

// Widths of columns. Handles of one storage often begin alike and differ in the end.
const (
	nameWidth   = 100
	handleWidth = 40
)

func writeVolumes(w io.Writer, volumes []backups.Saved) {
	if len(volumes) == 0 {
		return
	}
	var rows [][]string
	for _, v := range volumes {
		size := "-"
		if v.Size > 0 {
			size = backups.FormatSize(v.Size)
		}
		rows = append(rows, []string{brief(cmp.Or(v.Claim, "-"), nameWidth), brief(cmp.Or(v.Volume, "-"), nameWidth),
			brief(cmp.Or(v.Method, "-"), nameWidth), size, brief(v.Result, nameWidth), brief(cmp.Or(v.Handle, v.Reason, "-"), handleWidth)})
	}
	_ = writeTable(w, []string{"\nCLAIM", "VOLUME", "METHOD", "SIZE", "RESULT", "SNAPSHOT"}, rows) // into memory
}

func writeMessages(w io.Writer, title string, m backups.Messages) {
	if m.Count() == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	write := func(of string, texts []string) {
		for _, text := range texts {
			fmt.Fprintf(w, "  %s: %s\n", brief(of, nameWidth), brief(text, 1000))
		}
	}
	write("velero", m.Velero)
	write("cluster", m.Cluster)
	for _, namespace := range slices.Sorted(maps.Keys(m.Namespaces)) {
		write(namespace, m.Namespaces[namespace])
	}
}

// brief makes text from elsewhere fit one line: nothing that is not printed, and of
// what is longer than width both ends.
func brief(text string, width int) string {
	runes := []rune(check.OneLine(text))
	if len(runes) <= width {
		return string(runes)
	}
	half := (width - 1) / 2
	return string(runes[:half]) + "…" + string(runes[len(runes)-half:])
}
