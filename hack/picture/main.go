// Command picture draws docs/check.svg: what `check objectstore` writes, from a run
// of the real binary against a real S3 server. Run it in the repository's root:
// make picture
package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const (
	columns    = 98
	lineHeight = 19  // in pixels
	charWidth  = 8.4 // of a character of 14 pixels, a little more than most fonts have
	margin     = 20
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	err := run(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	bed, err := testbed.New(testbed.Options{})
	if err != nil {
		return err
	}
	defer bed.Close()
	s3, err := bed.StartS3(ctx, testbed.S3Options{Buckets: []string{"backups"}})
	if err != nil {
		return err
	}
	lines, err := check(ctx, s3)
	if err != nil {
		return err
	}
	return os.WriteFile("docs/check.svg", []byte(draw(lines)), 0o644)
}

// check runs the command, and returns it with what it wrote.
func check(ctx context.Context, s3 *testbed.S3) ([]string, error) {
	binary, err := filepath.Abs("bin/velero-plugin-longshore")
	if err != nil {
		return nil, err
	}
	args := []string{"check", "objectstore", "--bucket", "backups", "--prefix", "cluster-one",
		"--config", "s3Url=" + s3.Endpoint, "--credentials-file", "./" + filepath.Base(s3.CredentialsFile)}
	command := exec.CommandContext(ctx, binary, args...)
	command.Dir = filepath.Dir(s3.CredentialsFile)
	command.Env = []string{fmt.Sprint("COLUMNS=", columns)}
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", binary, err, out)
	}
	typed := "$ " + filepath.Base(binary) + " " + strings.Join(args[:6], " ") + " \\"
	lines := []string{typed, "    " + strings.Join(args[6:], " ")}
	return append(lines, strings.Split(strings.TrimSpace(string(out)), "\n")...), nil
}

// draw writes lines as they look in a terminal, for light and dark pages.
func draw(lines []string) string {
	longest := columns
	for _, line := range lines {
		longest = max(longest, utf8.RuneCountInString(line))
	}
	width, height := 2*margin+int(float64(longest)*charWidth), 2*margin+lineHeight*len(lines)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">
  <title>What check objectstore writes</title>
  <style>
    rect { fill: #f6f8fa; stroke: #d0d7de }
    text { fill: #1f2328; white-space: pre }
    .good { fill: #1a7f37; font-weight: 600 }
    .bad { fill: #cf222e; font-weight: 600 }
    .unknown { fill: #9a6700 }
    @media (prefers-color-scheme: dark) {
      rect { fill: #161b22; stroke: #30363d }
      text { fill: #e6edf3 }
      .good { fill: #3fb950 }
      .bad { fill: #f85149 }
      .unknown { fill: #d29922 }
    }
  </style>
  <rect x="0.5" y="0.5" width="%d" height="%d" rx="8"/>
`, width, height, width-1, height-1)
	for i, line := range lines {
		fmt.Fprintf(&b, "  <text x=\"%d\" y=\"%d\" xml:space=\"preserve\">%s</text>\n", margin, margin+lineHeight*(i+1)-5, coloured(line))
	}
	return b.String() + "</svg>\n"
}

// coloured marks the sign of a step, and the last word.
func coloured(line string) string {
	var b strings.Builder
	if xml.EscapeText(&b, []byte(line)) != nil || line == "" {
		return ""
	}
	text := b.String()
	if line == "It works." {
		return `<tspan class="good">` + text + `</tspan>`
	}
	for sign, class := range map[string]string{" ✓ ": "good", " ✗ ": "bad", " – ": "unknown"} {
		text = strings.Replace(text, sign, ` <tspan class="`+class+`">`+strings.TrimSpace(sign)+`</tspan> `, 1)
	}
	return text
}
