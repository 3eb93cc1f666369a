package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/drill"
	"github.com/longshore-dev/velero-plugin/internal/metrics"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/internal/verify"
)

// prometheusRule is the example of alerts, which only a cluster with the Prometheus
// operator takes.
const prometheusRule = "prometheusrule.yaml"

// rules are the rules of the example, as a file for Prometheus has them.
func rules(t *testing.T) string {
	t.Helper()
	path := filepath.Join(root, "docs", "examples", prometheusRule)
	var rule struct {
		APIVersion, Kind string
		Spec             json.RawMessage
	}
	require.NoError(t, json.Unmarshal([]byte(objects(t, path, examples(t)[path])[0].text), &rule))
	require.Equal(t, "monitoring.coreos.com/v1 PrometheusRule", rule.APIVersion+" "+rule.Kind)
	return string(rule.Spec)
}

// TestRules has promtool read the rules, and see each of them fire for its cause and
// none where all is well.
func TestRules(t *testing.T) {
	if testing.Short() {
		t.Skip("runs promtool")
	}
	testbed.RequirePart(t, testbed.Prometheus)
	dir := t.TempDir()
	file := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.WriteFile(file, []byte(rules(t)), 0o600))
	said, err := testbed.Promtool(t.Context(), "", "check", "rules", file)
	require.NoError(t, err)
	require.Contains(t, said, "16 rules found")
	cases, err := os.ReadFile(filepath.Join("testdata", "rules_test.yaml"))
	require.NoError(t, err)
	for _, match := range regexp.MustCompile(`"alert":\s*"(\w+)"`).FindAllStringSubmatch(rules(t), -1) {
		require.Contains(t, string(cases), `alertname="`+match[1]+`"`, "no case has it fire")
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "test.yaml"), cases, 0o600))
	_, err = testbed.Promtool(t.Context(), "", "test", "rules", filepath.Join(dir, "test.yaml"))
	require.NoError(t, err)
}

// TestMetricNames compares the metrics of verify and of drill with their lists in the
// documents, and with those of the rules and of the dashboard. Velero's are looked for in
// its sources.
func TestMetricNames(t *testing.T) {
	l := backups.At(nil, "b", "p")
	ours := listed(t, verify.New(l, verify.Options{}).Gauges(), "Metrics")
	ours = append(ours, listed(t, (&drill.Report{}).Gauges(l), "Metrics of drills")...)

	ofMetrics := regexp.MustCompile(`\b(longshore|velero)_\w+`)
	named, shown := ofMetrics.FindAllString(rules(t), -1), ofMetrics.FindAllString(queries(t), -1)
	require.Greater(t, min(len(named), len(shown)), 10)
	named = append(named, shown...)
	veleros := veleroMetrics(t)
	for _, name := range named {
		if short, is := strings.CutPrefix(name, "velero_"); is {
			require.Contains(t, veleros, `"`+short+`"`)
		} else {
			require.Contains(t, ours, name)
		}
	}
}

// queries are those of the Grafana dashboard. That they are answered is up to hack/dashboard.
func queries(t *testing.T) (all string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "examples", "grafana-dashboard.json"))
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			all += target.Expr + "\n"
		}
	}
	return all
}

// listed returns the names of gauges, which below a heading the documents list.
func listed(t *testing.T, gauges []metrics.Gauge, heading string) (names []string) {
	t.Helper()
	var told []string
	for _, g := range gauges {
		names = append(names, g.Name)
	}
	for _, row := range cells(t, "docs/verify.md", heading)[1:] {
		told = append(told, strings.Trim(row[0], "`"))
	}
	require.Equal(t, names, told)
	return names
}

// veleroMetrics is the source that names Velero's metrics.
func veleroMetrics(t *testing.T) string {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/vmware-tanzu/velero")
	download.Dir = filepath.Join(root, "hack", "tools", "velero")
	out, err := download.Output()
	require.NoError(t, err)
	var module struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &module))
	source, err := os.ReadFile(filepath.Join(module.Dir, "pkg", "metrics", "metrics.go"))
	require.NoError(t, err)
	return string(source)
}
