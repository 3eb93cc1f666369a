package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 2, 3}), 0)
}

func TestRatioIsOfTheSameRound(t *testing.T) {
	r := row{Rival: peerPlugin, Samples: map[string][]float64{ours: {10, 20, 40}, peerPlugin: {5, 40, 10}}}
	require.InDelta(t, 0.5, r.ratio(), 0, "less is better: 0.5, 2, 0.25")
	r.Higher = true
	require.InDelta(t, 2, r.ratio(), 0, "more is better: 2, 0.5, 4")
}

func TestJudgeTakesOnlyTheContent(t *testing.T) {
	seen := &judge{}
	n, err := io.Copy(seen, content(3*mebibyte+17))
	require.NoError(t, err)
	require.Equal(t, n, seen.seen)

	bad, err := io.ReadAll(content(2 * mebibyte))
	require.NoError(t, err)
	bad[mebibyte+5] ^= 1
	_, err = (&judge{}).Write(bad)
	require.ErrorContains(t, err, "the content differs")
}

// TestLink sends a line to an echoing server and back.
func TestLink(t *testing.T) {
	const roundTrip = 60 * time.Millisecond
	echo, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = echo.Close() })
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	way, err := startLink(t.Context(), echo.Addr().String(), roundTrip)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, way.close()) })

	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", way.address())
	require.NoError(t, err)
	defer conn.Close()
	began := time.Now()
	_, err = conn.Write(noise)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	back, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, noise, back)
	require.GreaterOrEqual(t, time.Since(began), 2*roundTrip, "one to open, one there and back")
}

func TestProcessFigures(t *testing.T) {
	now, err := memory(os.Getpid(), resident)
	require.NoError(t, err)
	require.Greater(t, now, 1.0)
	peak, err := memory(os.Getpid(), peakResident)
	require.NoError(t, err)
	require.GreaterOrEqual(t, peak, now/2)
	_, err = processorTime(os.Getpid())
	require.NoError(t, err)
	program, err := os.Executable()
	require.NoError(t, err)
	pid, err := childOf(os.Getppid(), program)
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), pid)
	_, err = childOf(os.Getpid(), program)
	require.ErrorContains(t, err, "no child process runs")
}

func sample() *results {
	k := &results{}
	k.replace("memory", []row{{Group: "memory", Name: "idle", Unit: "MB", When: "2026-01-02", Revision: "abc", Processor: "a processor", Rival: peerPlugin,
		Samples: map[string][]float64{ours: {20}, peerPlugin: {50}}}})
	k.replace("size", []row{{Group: "size", Name: "binary", Unit: "MB", When: "2026-01-01", Revision: "def", Processor: "a processor", Rival: peerPlugin,
		Samples: map[string][]float64{ours: {40}, peerPlugin: {80}}}})
	return k
}

func TestResultsKeepTheLastRunOfEachGroup(t *testing.T) {
	k := sample()
	require.Equal(t, "size", k.Rows[0].Group, "in the order of the report")
	k.replace("size", []row{{Group: "size", Name: "new"}})
	require.Len(t, k.Rows, 2)
	require.Equal(t, "new", k.Rows[0].Name)

	path := filepath.Join(t.TempDir(), "figures.json")
	require.NoError(t, k.save(path))
	again, err := load(path)
	require.NoError(t, err)
	require.Equal(t, k, again)
}

func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "benchmarks.md")
	text := "before\n" + figuresBegin + "\nold\n" + figuresEnd + "\nafter\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	require.NoError(t, writeDocuments(dir, sample()))

	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(written), "before\n"))
	require.True(t, strings.HasSuffix(string(written), "\nafter\n"))
	require.NotContains(t, string(written), "old")
	require.Contains(t, string(written), "| memory | idle | MB | 20.0 | 50.0 | **2.50×** |  |")
	require.Contains(t, string(written), "2026-01-01 (revision def, a processor), 2026-01-02 (revision abc, a processor)")

	drawn, err := os.ReadFile(filepath.Join(dir, "benchmarks.svg"))
	require.NoError(t, err)
	require.Contains(t, string(drawn), "than "+peerPlugin)
	require.Contains(t, string(drawn), ">binary<")
	require.NotContains(t, string(drawn), "idle", "a row that is in the tables alone")

	_, err = replaceFigures("no place for them", "")
	require.ErrorContains(t, err, "are missing")
}

func TestRivalThatFailsStandsInTheTables(t *testing.T) {
	measured := []row{{Name: "backup", Unit: "s", Samples: map[string][]float64{ours: {2, 4}, builtinPath: {6, 8}, builtinPolling: {5}}}}
	rows := append(against(builtinPath, measured), against(builtinPolling, measured)...)
	tables := markdownTables(&results{Rows: rows})
	require.Contains(t, tables, "| 3.00 (2.00 – 4.00) | 7.00 (6.00 – 8.00) | **2.50×** |")
	require.Contains(t, tables, "| 3.00 (2.00 – 4.00) | failed |  |")
	require.NotContains(t, chart(rows), "NaN")
}

func TestGroupsAreChosenByName(t *testing.T) {
	chosen := choose(groups(true), regexp.MustCompile("^link"))
	require.Len(t, chosen, 2)
	require.Equal(t, "link 20ms", chosen[0].name)
	names := map[string]bool{}
	for _, g := range groups(false) {
		require.False(t, names[g.name], g.name)
		names[g.name] = true
	}
	require.Contains(t, names, "snapshots 100")
	require.Len(t, choose(groups(false), regexp.MustCompile("")), len(names), "without a name all")
}
