package check

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Printer writes the steps for a person, one line each and more where a line is
// not enough.
type Printer struct {
	// NameWidth is the room for the names of the steps, in characters.
	NameWidth int
	// Doing begins the title, and Good is what it comes to when no step failed.
	Doing, Good string

	terminal Terminal
	number   int
	step     string // under way
	shown    func() // ends the line of progress
}

// NewPrinter returns a Printer for the terminal.
func NewPrinter(t Terminal) *Printer {
	return &Printer{NameWidth: 24, Doing: "Checking", Good: "It works", terminal: t, shown: func() {}}
}

// Title writes what is checked.
func (p *Printer) Title(text string) {
	for _, line := range wrap(p.Doing+" "+strings.Map(shown, text), p.terminal.Width) {
		fmt.Fprintln(p.terminal, p.terminal.Bold(line))
	}
	fmt.Fprintln(p.terminal)
}

// margin is how far what follows a line is indented.
const margin = 5

// Begin implements Observer. Of a step that takes more than a second it shows
// that it is under way.
func (p *Printer) Begin(step string) {
	p.number++
	p.step = step
	p.shown = p.terminal.Progress(p.title(cut(step, p.NameWidth)))
}

func (p *Printer) title(step string) string {
	return fmt.Sprintf("%3d  %s", p.number, pad(step, p.NameWidth))
}

// Announce writes the name of the step under way on a line of its own, for a
// step that has something to write before it ends.
func (p *Printer) Announce() {
	p.shown()
	fmt.Fprintln(p.terminal, strings.TrimRight(p.title(p.step), " "))
}

// End implements Observer.
func (p *Printer) End(r Result) {
	p.shown()
	p.line(r)
	for _, text := range strings.Split(r.Hint, "\n") {
		p.below("→ ", text)
	}
}

// line writes the detail beside the step, or below it if that is too wide.
func (p *Printer) line(r Result) {
	start, end := p.title(r.Step)+" ", fmt.Sprintf(" %8s", seconds(r.Took))
	beside := "   " + r.Detail
	if utf8.RuneCountInString(start+"✓"+end+beside) > p.terminal.Width {
		beside = ""
		defer p.below("", r.Detail)
	}
	fmt.Fprintln(p.terminal, strings.TrimRight(start+p.mark(r.Outcome)+end+beside, " "))
}

// below writes text under a line.
func (p *Printer) below(mark, text string) {
	for i, line := range wrap(text, p.terminal.Width-margin-utf8.RuneCountInString(mark)) {
		if i > 0 {
			mark = strings.Repeat(" ", utf8.RuneCountInString(mark))
		}
		fmt.Fprintln(p.terminal, strings.Repeat(" ", margin)+mark+line)
	}
}

func (p *Printer) mark(o Outcome) string {
	switch o {
	case OK:
		return p.terminal.Green("✓")
	case Warning:
		return p.terminal.yellow("!")
	case Failed:
		return p.terminal.Red("✗")
	}
	return "–"
}

// Sum writes what it all comes to.
func (p *Printer) Sum(results []Result) {
	failed, warned := count(results, Failed), count(results, Warning)
	text := p.terminal.Green(p.Good + ".")
	switch {
	case failed > 0:
		text = p.terminal.Red(fmt.Sprintf("%d of the %s taken failed.", failed, Count(len(results), "step")))
	case warned > 0:
		text = p.terminal.yellow(p.Good + ", with warnings.")
	}
	fmt.Fprintf(p.terminal, "\n%s\n", text)
}

// Silent takes steps without a word.
type Silent struct{}

// Begin implements Observer.
func (Silent) Begin(string) {}

// End implements Observer.
func (Silent) End(Result) {}

// Report is a finished check for a program.
type Report struct {
	Subject string       `json:"subject"`
	OK      bool         `json:"ok"`
	Steps   []jsonResult `json:"steps"`
}

type jsonResult struct {
	Result
	Seconds float64 `json:"seconds"`
}

// NewReport reports the steps of a check.
func NewReport(subject string, results []Result) Report {
	r := Report{Subject: subject, OK: Works(results)}
	for _, result := range results {
		r.Steps = append(r.Steps, jsonResult{result, result.Took.Round(time.Millisecond).Seconds()})
	}
	return r
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
