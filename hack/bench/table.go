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
	for i, r := range rows {
		if i == 0 || r.Rival != rows[i-1].Rival {
			_ = table.Flush()
			fmt.Fprintf(to, "%s beside %s:\n", ours, r.Rival)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Unit,
			spread(r.Samples[ours]), r.rivalSpread(), r.better(), withLabel("ceiling", spread(r.Samples[ceiling])))
	}
	_ = table.Flush() // Standard output.
}

func withLabel(label, text string) string {
	if text == "" {
		return ""
	}
	return label + " " + text
}

// rivalSpread is the spread of the rival, which has no figures where it failed.
func (r row) rivalSpread() string {
	if len(r.Samples[r.Rival]) == 0 {
		return "failed"
	}
	return spread(r.Samples[r.Rival])
}

// better is how many times ours is better, empty where there is no rival's figure.
func (r row) better() string {
	if len(r.Samples[r.Rival]) == 0 {
		return ""
	}
	return number(r.ratio()) + "×"
}

func bold(text string) string {
	if text == "" {
		return ""
	}
	return "**" + text + "**"
}

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

// rivals are those that ours is compared with, in the order of the report.
var rivals = []string{peerPlugin, builtinPath, builtinPolling, plainly}

// markdownTables has a table for each rival.
func markdownTables(k *results) string {
	var out strings.Builder
	for _, rival := range rivals {
		rows := slices.DeleteFunc(slices.Clone(k.Rows), func(r row) bool { return r.Rival != rival })
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&out, "### Against %s\n\n", rival)
		fmt.Fprintf(&out, "| group | row | unit | %s | %s | times better | ceiling |\n|---|---|---|---|---|---|---|\n", ours, rival)
		for _, r := range rows {
			fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | %s |\n", r.Group, r.Name, r.Unit,
				spread(r.Samples[ours]), r.rivalSpread(), bold(r.better()), spread(r.Samples[ceiling]))
		}
		out.WriteString("\n")
	}
	return out.String()
}
