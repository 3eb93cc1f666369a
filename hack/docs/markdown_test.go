package main

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// root is the repository's.
const root = "../.."

// page is a document for people.
type page struct {
	path   string // from the repository's root
	text   string // without the content of fenced blocks
	blocks []block
}

// block is a fenced block of a page.
type block struct {
	where    string // page and line, for messages
	heading  string // the last one above it
	language string
	text     string
}

// pages reads README.md and everything in docs.
func pages(t *testing.T) []page {
	t.Helper()
	paths := []string{filepath.Join(root, "README.md")}
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return err
	}))
	var all []page
	for _, path := range paths {
		all = append(all, read(t, path))
	}
	return all
}

func read(t *testing.T, path string) page {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	name, err := filepath.Rel(root, path)
	require.NoError(t, err)
	p := page{path: name}
	var open *block
	heading, line := "", 0
	for lines := bufio.NewScanner(strings.NewReader(string(content))); lines.Scan(); {
		text := lines.Text()
		line++
		language, fence := strings.CutPrefix(text, "```")
		switch {
		case fence && open == nil:
			open = &block{where: fmt.Sprintf("%s:%d", name, line), heading: heading, language: language}
		case fence:
			p.blocks, open = append(p.blocks, *open), nil
		case open != nil:
			open.text += text + "\n"
		default:
			if strings.HasPrefix(text, "#") {
				heading = strings.TrimLeft(text, "# ")
			}
			p.text += text + "\n"
		}
	}
	require.Nil(t, open, "%s: a block that does not end", name)
	return p
}

// blocksOf returns the blocks of all pages in one of the languages.
func blocksOf(t *testing.T, languages ...string) []block {
	t.Helper()
	var found []block
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if slices.Contains(languages, b.language) {
				found = append(found, b)
			}
		}
	}
	require.NotEmpty(t, found)
	return found
}

// TestLanguages wants every block to say what it is, so that it is tested.
func TestLanguages(t *testing.T) {
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			require.Contains(t, []string{"yaml", "json", "sh", "ini", "text"}, b.language, b.where)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks follows the links between the documents.
func TestLinks(t *testing.T) {
	for _, p := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(p.text, -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(match[1], "#")
			target := filepath.Join(root, p.path)
			if file != "" {
				target = filepath.Join(filepath.Dir(target), file)
			}
			require.FileExists(t, target, "%s links to %s", p.path, match[1])
			if anchor != "" {
				require.Contains(t, anchors(read(t, target)), anchor, "%s links to %s", p.path, match[1])
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^a-z0-9 _-]`)

// anchors are the names under which a page's headings are linked to.
func anchors(p page) []string {
	var all []string
	for line := range strings.Lines(p.text) {
		if heading, found := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); found && strings.HasPrefix(line, "#") {
			name := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, strings.ReplaceAll(name, " ", "-"))
		}
	}
	return all
}

// TestEveryDocumentIsFound wants a link to every file in docs.
func TestEveryDocumentIsFound(t *testing.T) {
	linked := map[string]bool{}
	for _, p := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(p.text, -1) {
			file, _, _ := strings.Cut(match[1], "#")
			linked[filepath.Join(filepath.Dir(p.path), file)] = true
		}
	}
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry os.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if err == nil && !entry.IsDir() && filepath.Base(name) != "benchmarks.json" && filepath.Ext(name) != ".go" {
			require.True(t, linked[name], "no document links to %s", name)
		}
		return err
	}))
}

// TestPictures wants every picture to be well-formed, and no label to leave it.
func TestPictures(t *testing.T) {
	pictures, err := filepath.Glob(filepath.Join(root, "docs", "*.svg"))
	require.NoError(t, err)
	require.NotEmpty(t, pictures)
	for _, path := range pictures {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		var p picture
		require.NoError(t, xml.Unmarshal(content, &p), path)
		var width float64
		_, err = fmt.Sscanf(p.ViewBox, "0 0 %f", &width)
		require.NoError(t, err, path)
		require.NotEmpty(t, p.Labels, path)
		for _, l := range p.Labels {
			left, right := l.reach()
			require.True(t, left >= 0 && right <= width, "%s: %q is cut off: it goes from %.0f to %.0f of %.0f", path, l.Text, left, right, width)
		}
	}
}

// picture is what counts of an SVG.
type picture struct {
	ViewBox string  `xml:"viewBox,attr"`
	Labels  []label `xml:"text"`
}

type label struct {
	X      float64 `xml:"x,attr"`
	Anchor string  `xml:"text-anchor,attr"`
	Text   string  `xml:",chardata"`
}

// reach is where a label begins and ends at least, in a small font.
func (l label) reach() (left, right float64) {
	const narrow = 6 // of a character of 12 pixels
	width := narrow * float64(utf8.RuneCountInString(l.Text))
	switch l.Anchor {
	case "middle":
		return l.X - width/2, l.X + width/2
	case "end":
		return l.X - width, l.X
	}
	return l.X, l.X + width
}

// cells are those of each row of the tables below a heading of a page.
func cells(t *testing.T, path, heading string) [][]string {
	t.Helper()
	var rows [][]string
	within := false
	for line := range strings.Lines(read(t, filepath.Join(root, path)).text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			within = strings.TrimLeft(line, "# ") == heading
		}
		if within && strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| ---") {
			row := strings.Split(strings.Trim(line, "|"), "|")
			for i := range row {
				row[i] = strings.TrimSpace(row[i])
			}
			rows = append(rows, row)
		}
	}
	require.NotEmpty(t, rows, "no table below %q in %s", heading, path)
	return rows
}
