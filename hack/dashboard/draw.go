package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"time"
)

const (
	column    = 42 // in pixels
	row       = 30
	gap       = 8
	titleRoom = 48 // above the panels
)

var colors = []string{"#3274d9", "#56a64b", "#e0752d", "#a352cc", "#ba43a9"}

// svg is a picture that grows.
type svg struct{ strings.Builder }

func (s *svg) text(x, y float64, size int, color, anchor, text string) {
	fmt.Fprintf(s, `<text x="%.0f" y="%.0f" font-size="%d" fill="%s" text-anchor="%s">`, x, y, size, color, anchor)
	_ = xml.EscapeText(s, []byte(text)) // a Builder takes it
	s.WriteString("</text>\n")
}

// draw draws a dashboard with the answers to the queries of each panel.
func draw(d *dashboard, answers [][]series) string {
	height := 0
	for _, p := range d.Panels {
		height = max(height, p.GridPos.Y+p.GridPos.H)
	}
	w, h := 24*column+gap, titleRoom+height*row+gap
	var s svg
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif">`+"\n", w, h)
	fmt.Fprintf(&s, `<rect width="%d" height="%d" fill="#f4f5f5"/>`+"\n", w, h)
	s.text(2*gap, 30, 18, "#24292e", "start", d.Title)
	for i, p := range d.Panels {
		s.panel(p, answers[i])
	}
	s.WriteString("</svg>\n")
	return s.String()
}

func (s *svg) panel(p panel, answer []series) {
	x, y := float64(p.GridPos.X*column+gap), float64(titleRoom+p.GridPos.Y*row)
	w, h := float64(p.GridPos.W*column-gap), float64(p.GridPos.H*row-gap)
	fmt.Fprintf(s, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="3" fill="#fff" stroke="#dcdee1"/>`+"\n", x, y, w, h)
	s.text(x+10, y+20, 13, "#24292e", "start", p.Title)
	if p.Type == "stat" {
		s.stat(p, answer, x, y+20, w, h-20)
	} else {
		s.lines(p, answer, x+48, y+34, w-64, h-74)
		s.legend(answer, x+12, y+h-12)
	}
}

// stat writes the last values.
func (s *svg) stat(p panel, answer []series, x, y, w, h float64) {
	for i, one := range answer {
		text, color := p.worded(one.last())
		middle := y + h*(float64(i)+0.5)/float64(len(answer))
		s.text(x+w/2, middle+8, 26, color, "middle", text)
		s.text(x+w/2, middle+26, 11, "#6e7681", "middle", one.name)
	}
}

// worded is a value as the panel has it written, and its color.
func (p panel) worded(value float64) (text, color string) {
	d := p.FieldConfig.Defaults
	color = "#24292e"
	for _, step := range d.Thresholds.Steps {
		if step.Value == nil || value >= *step.Value {
			color = map[string]string{"green": "#37872d", "red": "#c4162a"}[step.Color]
		}
	}
	for _, m := range d.Mappings {
		if to, is := m.Options[fmt.Sprint(value)]; is {
			return to.Text, color
		}
	}
	return inUnit(value, d.Unit), color
}

func inUnit(value float64, unit string) string {
	switch {
	case unit == "s" && value >= 2*3600:
		return fmt.Sprintf("%.1f hours", value/3600)
	case unit == "s":
		return fmt.Sprintf("%.0f s", value)
	case unit == "bytes":
		return fmt.Sprintf("%.1f MiB", value/(1<<20))
	}
	return fmt.Sprintf("%.3g", value)
}

// lines draws series over the week, from 0 to their largest value.
func (s *svg) lines(p panel, answer []series, x, y, w, h float64) {
	top := 0.0
	for _, one := range answer {
		for _, at := range one.points {
			top = math.Max(top, at.value)
		}
	}
	top = math.Max(top*1.1, 1)
	for i := range 3 {
		part := float64(i) / 2
		fmt.Fprintf(s, `<path d="M%.0f %.1fh%.0f" stroke="#e7e8ea"/>`+"\n", x, y+h*(1-part), w)
		s.text(x-6, y+h*(1-part)+4, 10, "#6e7681", "end", inUnit(top*part, p.FieldConfig.Defaults.Unit))
	}
	for day := begin.Add(12 * time.Hour); day.Before(end); day = day.AddDate(0, 0, 2) {
		s.text(x+w*day.Sub(begin).Hours()/end.Sub(begin).Hours(), y+h+14, 10, "#6e7681", "middle", day.Format("01-02"))
	}
	for i, one := range answer {
		fmt.Fprintf(s, `<path fill="none" stroke="%s" stroke-width="1.5" d="`, colors[i%len(colors)])
		for n, at := range one.points {
			move := "L"
			if n == 0 || at.at.Sub(one.points[n-1].at) > step { // nothing was there in between
				move = "M"
			}
			fmt.Fprintf(s, "%s%.1f %.1f", move, x+w*at.at.Sub(begin).Hours()/end.Sub(begin).Hours(), y+h*(1-at.value/top))
		}
		s.WriteString("\"/>\n")
	}
}

func (s *svg) legend(answer []series, x, y float64) {
	for i, one := range answer {
		fmt.Fprintf(s, `<path d="M%.0f %.0fh12" stroke="%s" stroke-width="3"/>`+"\n", x, y-4, colors[i%len(colors)])
		s.text(x+16, y, 11, "#24292e", "start", one.name)
		x += 34 + 6.3*float64(len(one.name))
	}
}
