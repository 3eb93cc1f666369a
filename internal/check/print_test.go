package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// screen is a terminal of a test.
func screen(width int, live bool) (Terminal, *lockedBuffer) {
	written := &lockedBuffer{}
	return Terminal{Writer: written, Width: width, Live: live}, written
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var results = []Result{
	{Step: "settings", Outcome: OK, Took: time.Millisecond, Detail: "region, s3Url"},
	{Step: "list", Outcome: Failed, Took: 1260 * time.Millisecond, Detail: "it was refused, " + strings.Repeat("and so on ", 10), Hint: "do this\n" + `{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::a-bucket-with-a-long-name"]}`},
	{Step: "put", Outcome: Skipped},
}

func printed(width int) string {
	terminal, written := screen(width, false)
	p := NewPrinter(terminal)
	p.Title("a location")
	for _, r := range results {
		p.Begin(r.Step)
		p.End(r)
	}
	p.Sum(results)
	return written.String()
}

func TestPrinter(t *testing.T) {
	wide := printed(200)
	require.Contains(t, wide, "  1  settings                 ✓    0.0 s   region, s3Url\n")
	require.Contains(t, wide, "  2  list                     ✗    1.3 s   it was refused, "+strings.Repeat("and so on ", 9))
	require.Contains(t, wide, "\n     → do this\n     → {\"Effect\"")
	require.Contains(t, wide, "  3  put                      –    0.0 s\n")
	require.Contains(t, wide, "\n1 of the 3 steps taken failed.\n")
	require.NotContains(t, wide, "\x1b")

	narrow := printed(44)
	for line := range strings.Lines(narrow) {
		if !strings.Contains(line, "{") { // a policy is copied whole
			require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 44, line)
		}
	}
	require.Contains(t, narrow, "1  settings                 ✓    0.0 s\n     region, s3Url\n")
}

// TestPrinterProgress: a step of more than a second is seen to go on.
func TestPrinterProgress(t *testing.T) {
	terminal, written := screen(80, true)
	p := NewPrinter(terminal)
	p.Begin("slow")
	require.Eventually(t, func() bool { return strings.Contains(written.String(), "\r  1  slow") }, 5*time.Second, 10*time.Millisecond)
	p.End(Result{Step: "slow", Outcome: OK})
	require.Contains(t, written.String(), "… 1.0 s\r\x1b[K  1  slow                     ✓")
}

func TestPrinterAnnounce(t *testing.T) {
	terminal, written := screen(80, false)
	p := NewPrinter(terminal)
	p.Begin("build")
	p.Announce()
	p.End(Result{Step: "build", Outcome: OK, Detail: "all there"})
	require.Equal(t, "  1  build\n  1  build                    ✓    0.0 s   all there\n", written.String())
}

func TestWrap(t *testing.T) {
	terminal := Terminal{Width: 12}
	require.Equal(t, "an error\nwith words\nhttps://a-long.example.com\nand a second\n", terminal.Wrap("an error with words https://a-long.example.com\nand a second"))
	require.Equal(t, "  as  it  is\n", terminal.Wrap("  as  it  is"))
	require.Equal(t, "a·[2J\n", terminal.Wrap("a\x1b[2J"), "names of objects are anybody's")
}

func TestTerminal(t *testing.T) {
	t.Setenv("COLUMNS", "")
	require.Equal(t, plainWidth, TerminalOf(&bytes.Buffer{}).Width)
	t.Setenv("COLUMNS", "70")
	terminal := TerminalOf(os.Stdout) // a pipe or a file, in tests
	require.Equal(t, 70, terminal.Width)
	require.Equal(t, "x", terminal.Red("x"))
	terminal.Colour = true
	require.Equal(t, "\x1b[31mx\x1b[0m", terminal.Red("x"))
}

func TestReport(t *testing.T) {
	written, err := json.Marshal(NewReport("a location", results))
	require.NoError(t, err)
	require.Contains(t, string(written), `{"subject":"a location","ok":false,"steps":[`)
	require.Contains(t, string(written), `"seconds":1.26`)
	require.Contains(t, string(written), `"outcome":"skipped"`)
}

func TestStep(t *testing.T) {
	r := Run{observer: Silent{}}
	ctx, cancel := context.WithCancel(t.Context())
	give := func(detail string, err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return detail, err }
	}
	require.True(t, r.Step(ctx, "fine", give("well", nil)))
	require.True(t, r.Step(ctx, "warned", give("", Warn("hm", "mind"))))
	require.False(t, r.Step(ctx, "left out", give("", Skip("not now"))))
	require.False(t, r.Step(ctx, "failed", give("", Fail("no", "do"))))
	require.False(t, r.Step(ctx, "broken", give("", errors.New("bad"))))
	require.False(t, r.Step(ctx, "hostile", give("", Fail("a\x1b[2J", "b\x1b[2J\nc"))))
	cancel()
	require.False(t, r.Step(ctx, "late", give("well", nil)))
	for i, want := range []Result{
		{Outcome: OK, Detail: "well"}, {Outcome: Warning, Detail: "hm", Hint: "mind"}, {Outcome: Skipped, Detail: "not now"},
		{Outcome: Failed, Detail: "no", Hint: "do"}, {Outcome: Failed, Detail: "bad"}, {Outcome: Failed, Detail: "a·[2J", Hint: "b·[2J\nc"}, {Outcome: Failed, Detail: "interrupted"},
	} {
		got := r.Results[i]
		require.Equal(t, want, Result{Outcome: got.Outcome, Detail: got.Detail, Hint: got.Hint}, got.Step)
	}
	require.False(t, Works(r.Results))
	require.True(t, Works(r.Results[:3]))
}
