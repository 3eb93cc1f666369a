package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

func TestRowsHaveEveryVersion(t *testing.T) {
	all := rows(testbed.Editions())
	for kind, editions := range testbed.Editions() {
		for _, e := range editions {
			require.NotEmpty(t, choose(all, regexp.MustCompile(kind+"="+regexp.QuoteMeta(e.Version)+"( |$)")), kind+" "+e.Version)
		}
	}
	seen := map[string]bool{}
	for _, r := range all {
		require.False(t, seen[r.fileName()], "twice: %s", r)
		seen[r.fileName()] = true
	}
}

func TestVerdicts(t *testing.T) {
	require.Equal(t, "2 pass", verdict([]byte("--- PASS: TestA (1s)\n    --- PASS: TestA/b (0s)\n--- PASS: TestB (0s)\nok"), true))
	require.Equal(t, "1 of 2 fail: TestB", verdict([]byte("--- PASS: TestA (1s)\n--- FAIL: TestB (0s)\n    --- FAIL: TestB/c (0s)\nFAIL"), false))
	require.Equal(t, "1 pass, 1 skipped", verdict([]byte("--- PASS: TestA (1s)\n--- SKIP: TestB (0s)\nok"), true))
	require.True(t, result{Verdicts: map[string]string{"main job": "49 pass, 1 skipped", "drills": "1 pass"}}.passed())
	require.False(t, result{Verdicts: map[string]string{"main job": "1 of 30 fail: TestA", "drills": "1 pass"}}.passed())
	require.False(t, result{Verdicts: map[string]string{"main job": "1 pass", "drills": "did not run"}}.passed())
	require.Equal(t, "did not run", verdict([]byte("build failed"), false))
	require.Equal(t, "did not run", verdict([]byte("ok, no tests to run"), true))
	require.Equal(t, "did not run", verdict([]byte("--- PASS: TestA (1s)\npanic: …"), false))
}

func TestTableKeepsEarlierResults(t *testing.T) {
	docs := t.TempDir()
	page := filepath.Join(docs, "compatibility.md")
	require.NoError(t, os.WriteFile(page, []byte("# Title\n\n"+tableBegin+"old\n"+tableEnd+"\nend\n"), 0o644))
	all := rows(testbed.Editions())
	recorded := func(r row, date string, verdicts map[string]string) {
		require.NoError(t, record(docs, result{Versions: r.versions, Conditions: r.conditions, Verdicts: verdicts, Date: date}))
	}
	recorded(all[0], "2026-11-27", map[string]string{"snapshots and restores": "30 pass", "main job": "1 pass", "drills": "1 pass"})
	recorded(all[1], "2026-11-28", map[string]string{"snapshots and restores": "1 of 30 fail: TestA", "main job": "1 pass"})
	recorded(all[1], "2026-11-29", map[string]string{"main job": "did not run", "groups and readiness": "2 pass"})
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	require.Contains(t, lines[6], "| Delete, Immediate | 30 pass | 1 pass | not tested | 1 pass | 2026-11-27 |")
	require.Contains(t, lines[7], "| 1 of 30 fail: TestA | did not run | 2 pass | not tested | 2026-11-28 |")
	require.Contains(t, lines[8], "| not tested | not tested | not tested | not tested | – |")
	require.Equal(t, []string{"end", ""}, lines[len(lines)-2:])
}

func TestList(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list", "-rows", "velero=1.14"}, &out))
	require.Contains(t, out.String(), "kubernetes=1.31.14 snapshotter=6.3.0 provisioner=5.3.0 velero=1.14.1 metadata=yes class=hostpath-retain\n")
	require.ErrorContains(t, run(t.Context(), []string{"-rows", "("}, &out), "-rows")
}
