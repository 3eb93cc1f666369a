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
	Cluster    string            `json:"cluster"`
	MainJob    string            `json:"mainJob"`
	Drills     string            `json:"drills,omitempty"` // "" where they have never run
	Date       string            `json:"date"`
}

func (r result) of(row row) bool {
	return maps.Equal(r.Versions, row.versions) && r.Conditions == row.conditions
}

// good is what verdict says where no test failed.
var good = regexp.MustCompile(`^\d+ pass(, \d+ skipped)?$`)

func (r result) passed() bool {
	return good.MatchString(r.Cluster) && good.MatchString(r.MainJob) && good.MatchString(r.Drills)
}

// record puts results in the place of the earlier ones of their rows, and writes
// the table of all.
func record(docs string, fresh ...result) error {
	file := filepath.Join(docs, "compatibility.json")
	known, err := readResults(file)
	if err != nil {
		return err
	}
	known = append(fresh, known...)
	kept := []result{}
	for _, r := range rows(testbed.Editions()) {
		if i := find(known, r); i >= 0 {
			kept = append(kept, known[i])
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

func find(known []result, r row) int {
	for i, k := range known {
		if k.of(r) {
			return i
		}
	}
	return -1
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
	text.WriteString("\n| Kubernetes | external-snapshotter | csi-provisioner | Velero | class | snapshots and restores | main job | drills | tested |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range all {
		was := result{Cluster: "not tested", MainJob: "not tested", Date: "–"}
		if i := find(known, r); i >= 0 {
			was = known[i]
		}
		for _, kind := range kinds {
			fmt.Fprintf(&text, "| %s ", r.versions[kind])
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s |\n", inWords(r.conditions), was.Cluster, was.MainJob, cmp.Or(was.Drills, "not tested"), was.Date)
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
