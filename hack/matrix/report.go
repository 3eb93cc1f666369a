package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// result is what came of a row.
type result struct {
	Versions   map[string]string `json:"versions"`
	Conditions string            `json:"conditions,omitempty"`
	Verdicts   map[string]string `json:"verdicts"` // by the titles of columns
	Date       string            `json:"date"`     // of the oldest verdict
}

func (r result) of(row row) bool {
	return maps.Equal(r.Versions, row.versions) && r.Conditions == row.conditions
}

// good is what verdict says where no test failed.
var good = regexp.MustCompile(`^\d+ pass(, \d+ skipped)?$`)

func (r result) passed() bool {
	for _, v := range r.Verdicts {
		if !good.MatchString(v) {
			return false
		}
	}
	return true
}

func (r result) String() string {
	var text []string
	for _, c := range columns {
		if v := r.Verdicts[c.title]; v != "" {
			text = append(text, c.title+": "+v)
		}
	}
	return strings.Join(text, "; ")
}

// with takes over from an earlier result of the row what has not run again.
func (r result) with(earlier result) result {
	for _, c := range columns {
		if was := earlier.Verdicts[c.title]; was != "" && r.Verdicts[c.title] == "" {
			r.Verdicts[c.title], r.Date = was, min(r.Date, earlier.Date)
		}
	}
	return r
}

// record puts results in the place of the earlier ones of their rows, and writes
// the table of all.
func record(docs string, fresh ...result) error {
	file := filepath.Join(docs, "compatibility.json")
	known, err := readResults(file)
	if err != nil {
		return err
	}
	kept := []result{}
	for _, r := range rows(testbed.Editions()) {
		was, ran := find(known, r), find(fresh, r)
		switch {
		case ran != nil && was != nil:
			kept = append(kept, ran.with(*was))
		case ran != nil:
			kept = append(kept, *ran)
		case was != nil:
			kept = append(kept, *was)
		}
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return writeTable(filepath.Join(docs, "compatibility.md"), kept)
}

func readResults(file string) ([]result, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var known []result
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return known, nil
}

func find(known []result, r row) *result {
	for i := range known {
		if known[i].of(r) {
			return &known[i]
		}
	}
	return nil
}

const (
	tableBegin = "<!-- table: written by make matrix -->\n"
	tableEnd   = "<!-- end of the table -->"
)

// writeTable replaces the table in the page.
func writeTable(file string, known []result) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		return fmt.Errorf("%s has no place for the table", file)
	}
	return os.WriteFile(file, []byte(before+tableBegin+table(rows(testbed.Editions()), known)+tableEnd+after), 0o644)
}

func table(all []row, known []result) string {
	var text strings.Builder
	text.WriteString("\n| Kubernetes | external-snapshotter | csi-provisioner | Velero | class |")
	for _, c := range columns {
		text.WriteString(" " + c.title + " |")
	}
	text.WriteString(" tested |\n" + strings.Repeat("|---", len(kinds)+len(columns)+2) + "|\n")
	for _, r := range all {
		was := result{Date: "–"}
		if found := find(known, r); found != nil {
			was = *found
		}
		for _, kind := range kinds {
			fmt.Fprintf(&text, "| %s ", r.versions[kind])
		}
		fmt.Fprintf(&text, "| %s ", inWords(r.conditions))
		for _, c := range columns {
			fmt.Fprintf(&text, "| %s ", cmp.Or(was.Verdicts[c.title], "not tested"))
		}
		fmt.Fprintf(&text, "| %s |\n", was.Date)
	}
	return text.String() + "\n"
}

func inWords(conditions string) string {
	switch conditions {
	case retains:
		return "Retain"
	case waits:
		return "WaitForFirstConsumer"
	default:
		return "Delete, Immediate"
	}
}
