// Package metrics writes gauges in Prometheus' text format, to a file for the textfile
// collector of node_exporter or to a Pushgateway.
//
// What it writes is valid in the text format 0.0.4 and in OpenMetrics 1.0 alike: there
// are only gauges, without timestamps, and # EOF at the end.
package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Gauge is a metric with all its samples.
type Gauge struct {
	Name, Help string
	Samples    []Sample
}

// Sample is one value of a Gauge.
type Sample struct {
	Labels []Label
	Value  float64
}

// Label is a label of a Sample. Its value may be any text.
type Label struct{ Name, Value string }

// Text writes gauges as text. A Gauge without samples has only its help.
func Text(gauges []Gauge) []byte {
	var text bytes.Buffer
	for _, g := range gauges {
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s gauge\n", g.Name, helpEscapes.Replace(g.Help), g.Name)
		for _, s := range g.Samples {
			fmt.Fprintf(&text, "%s%s %s\n", g.Name, labels(s.Labels), strconv.FormatFloat(s.Value, 'f', -1, 64))
		}
	}
	text.WriteString("# EOF\n")
	return text.Bytes()
}

func labels(all []Label) string {
	if len(all) == 0 {
		return ""
	}
	pairs := make([]string, 0, len(all))
	for _, l := range all {
		pairs = append(pairs, l.Name+`="`+escape(l.Value)+`"`)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// In a help only OpenMetrics escapes quotes; the older format takes that for a mistake.
var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `'`)
	valueEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func escape(value string) string {
	return valueEscapes.Replace(strings.ToValidUTF8(value, "\uFFFD"))
}

// WriteFile writes gauges to a file that appears whole, in place of the former one, and
// that every user may read: the collector is another one. Until then it has a name
// that the collector skips.
func WriteFile(path string, gauges []Gauge) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".longshore-*.tmp")
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	_, errWrite := file.Write(Text(gauges))
	err = errors.Join(errWrite, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write metrics: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
