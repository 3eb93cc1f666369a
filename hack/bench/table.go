package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// printRows prints a group as it is finished.
func printRows(to io.Writer, rows []row) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Unit,
			spread(r.Samples[ours]), spread(r.Samples[r.Rival]), r.verdict(), withLabel("ceiling", spread(r.Samples[ceiling])))
	}
	_ = table.Flush() // Standard output.
}

func withLabel(label, text string) string {
	if text == "" {
		return ""
	}
	return label + " " + text
}

// verdict is the ratio, and the target where there is one.
func (r row) verdict() string {
	text := number(r.ratio()) + "×"
	if r.Target == 0 {
		return text
	}
	mark := "✓"
	if !r.reached() {
		mark = "✗"
	}
	return text + " " + mark + " " + number(r.Target) + "×"
}

func (r row) reached() bool { return r.ratio() >= r.Target }

// spread is the median and, where there are several figures, the least and the
// largest.
func spread(figures []float64) string {
	switch len(figures) {
	case 0:
		return ""
	case 1:
		return number(figures[0])
	default:
		return fmt.Sprintf("%s (%s – %s)", number(median(figures)), number(slices.Min(figures)), number(slices.Max(figures)))
	}
}

// number has three digits that say something.
func number(f float64) string {
	switch {
	case f >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	default:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
}

// markdownTables has a table for each rival.
func markdownTables(k *results) string {
	var out strings.Builder
	for _, rival := range []string{peerPlugin, builtinPath} {
		rows := slices.DeleteFunc(slices.Clone(k.Rows), func(r row) bool { return r.Rival != rival })
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&out, "### Against %s\n\n", rival)
		fmt.Fprintf(&out, "| group | row | unit | %s | %s | times better | target | ceiling |\n|---|---|---|---|---|---|---|---|\n", ours, rival)
		for _, r := range rows {
			fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | **%s** | %s | %s |\n", r.Group, r.Name, r.Unit,
				spread(r.Samples[ours]), spread(r.Samples[r.Rival]), number(r.ratio()), r.targetCell(), spread(r.Samples[ceiling]))
		}
		out.WriteString("\n")
	}
	return out.String()
}

func (r row) targetCell() string {
	switch {
	case r.Target == 0:
		return ""
	case r.reached():
		return number(r.Target) + ", reached"
	default:
		return number(r.Target) + ", **not reached**"
	}
}
