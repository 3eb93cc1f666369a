package check

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Terminal is where a person reads.
type Terminal struct {
	io.Writer
	Width  int  // in characters
	Live   bool // lines can be written over
	Colour bool
}

const (
	// plainWidth is the width for a file or a pipe: nothing is broken there.
	plainWidth = 1 << 16
	// usualWidth is the width of a terminal that does not tell.
	usualWidth = 80
)

// TerminalOf finds out what w can show. NO_COLOR in the environment forbids
// colours, COLUMNS sets the width.
func TerminalOf(w io.Writer) Terminal {
	t := Terminal{Writer: w, Width: plainWidth}
	file, isFile := w.(*os.File)
	if isFile && term.IsTerminal(int(file.Fd())) {
		t.Live = os.Getenv("TERM") != "dumb" && escapes(file)
		t.Colour = t.Live && os.Getenv("NO_COLOR") == ""
		t.Width = usualWidth
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			t.Width = width
		}
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		t.Width = columns
	}
	t.Width = max(t.Width, 2*margin+10)
	return t
}

// To is the same terminal, written to through w.
func (t Terminal) To(w io.Writer) Terminal {
	t.Writer = w
	return t
}

// Bold is for a title, where the terminal has colours.
func (t Terminal) Bold(text string) string { return t.style("1", text) }

// Green is for what is well.
func (t Terminal) Green(text string) string { return t.style("32", text) }

// Red is for what is not.
func (t Terminal) Red(text string) string { return t.style("31", text) }

func (t Terminal) yellow(text string) string { return t.style("33", text) }

func (t Terminal) style(code, text string) string {
	if !t.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Wrap breaks the lines of text between words where they are wider than the
// terminal, and leaves out what is not printed. It ends in a newline.
func (t Terminal) Wrap(text string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.Map(shown, text)) {
		line = strings.TrimRight(line, "\n")
		if utf8.RuneCountInString(line) > t.Width {
			line = strings.Join(wrap(line, t.Width), "\n")
		}
		out.WriteString(line)
		out.WriteByte('\n')
	}
	return out.String()
}

// wrap breaks text into lines between words. A word that is longer than a line
// has one of its own: it may be a URL or a policy, which is copied whole.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// cut shortens text to width characters.
func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:max(width-1, 0)]) + "…"
}

// pad makes text exactly width characters long, or leaves it if it is longer.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// Printable is for text from elsewhere. A person's terminal obeys the control
// characters in it, so there it gets none; a file or a pipe gets all as it is.
func (t Terminal) Printable() io.Writer {
	if !t.Live {
		return t.Writer
	}
	return printable{t.Writer}
}

type printable struct{ io.Writer }

func (p printable) Write(text []byte) (int, error) {
	_, err := p.Writer.Write(bytes.Map(shown, text))
	if err != nil {
		return 0, err
	}
	return len(text), nil
}

// shown is how a character of a text from elsewhere is shown.
func shown(r rune) rune {
	if r == '\n' || r == '\t' || unicode.IsPrint(r) || r == utf8.RuneError {
		return r
	}
	return '·'
}
