package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The figures stand between these lines of the document; what is around them is
// written by people.
const (
	figuresBegin = "<!-- figures: written by make bench -->"
	figuresEnd   = "<!-- end of the figures -->"
)

// writeDocuments writes the chart, and the tables into the document.
func writeDocuments(dir string, k *results) error {
	if err := os.WriteFile(filepath.Join(dir, "benchmarks.svg"), []byte(chart(k.Rows)), 0o644); err != nil {
		return err
	}
	path := filepath.Join(dir, "benchmarks.md")
	before, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		before = []byte("# Benchmarks\n\n" + figuresBegin + "\n" + figuresEnd + "\n")
	} else if err != nil {
		return err
	}
	after, err := replaceFigures(string(before), figures(k))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(after), 0o644)
}

func replaceFigures(document, figures string) (string, error) {
	head, rest, found := strings.Cut(document, figuresBegin)
	_, tail, ended := strings.Cut(rest, figuresEnd)
	if !found || !ended {
		return "", fmt.Errorf("the lines %q and %q are missing", figuresBegin, figuresEnd)
	}
	return head + figuresBegin + "\n\n" + figures + figuresEnd + tail, nil
}

func figures(k *results) string {
	var out strings.Builder
	out.WriteString("![How many times better Longshore is](benchmarks.svg)\n\n")
	m := k.Machine
	fmt.Fprintf(&out, "Measured with %d cores and %d GiB of memory, %s, %s, on %s.\n",
		m.Cores, m.MemoryGiB, m.System, m.Go, runs(k.Rows))
	out.WriteString("Versions:")
	for i, name := range slices.Sorted(maps.Keys(m.Versions)) {
		if i > 0 {
			out.WriteString(",")
		}
		fmt.Fprintf(&out, " %s %s", name, m.Versions[name])
	}
	out.WriteString(".\n\n")
	out.WriteString(markdownTables(k))
	return out.String()
}

// runs are the days of the runs that the rows are of, with what was run, and on what.
func runs(rows []row) string {
	var all []string
	for _, r := range rows {
		all = append(all, fmt.Sprintf("%s (revision %s, %s)", r.When, r.Revision, r.Processor))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}
