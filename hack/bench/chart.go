package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Measures of the chart, in pixels.
const (
	chartWidth  = 860
	chartLabel  = 390
	chartRow    = 22
	chartTop    = 58
	chartBottom = 34
)

const chartStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.faint { fill: #59636e } .rival { font-weight: 600 }
.bar { fill: #1a7f6b } .behind { fill: #bc4c00 }
.line { stroke: #8c959f; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
 text { fill: #e6edf3 } .faint { fill: #9198a1 } .bar { fill: #3fb99f } .behind { fill: #db6d28 }
}
</style>
`

// drawn are the rows in the chart, by group; the tables have the rest.
var drawn = map[string][]string{
	"size":                     {"binary"},
	"start":                    {"start to the first answer"},
	"memory":                   {"memory, idle", "memory, after a listing"},
	"peaks":                    {"memory, peak of a 1 GiB upload"},
	"transfer versitygw-http":  {"PutObject 1 GiB", "GetObject 1 GiB"},
	"transfer versitygw-https": {"PutObject 1 GiB", "GetObject 1 GiB"},
	"small versitygw-https":    {"PutObject 4 KiB, one at once", "PutObject 4 KiB, 8 at once"},
	"listing":                  {"listing of 10000 prefixes, versitygw"},
	"link 100ms":               {"PutObject 200 MiB, round trip of 100ms", "GetObject 200 MiB, round trip of 100ms"},
	"snapshots 20":             {"backup of 20 volumes", "restore of 20 volumes", "deletion of a backup of 20 volumes"},
}

// chart draws how many times better ours is than each rival, on a scale in which
// twice as good is as far from equal as half as good.
func chart(rows []row) string {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !slices.Contains(drawn[r.Group], r.Name) })
	low, high := scaleOf(rows)
	x := func(ratio float64) float64 {
		return chartLabel + (math.Log2(ratio)-low)/(high-low)*(chartWidth-chartLabel-60)
	}
	bars, y := barsOf(rows, x)
	height := y + chartBottom
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="How many times better Longshore is">`+"\n", chartWidth, height)
	out.WriteString(chartStyle)
	out.WriteString(`<text class="title" x="10" y="22">How many times better Longshore is</text>` + "\n")
	out.WriteString(`<text class="faint" x="10" y="40">speed, time, memory or size; medians of one run</text>` + "\n")
	for power := math.Ceil(low); power <= high; power++ {
		at := x(math.Exp2(power))
		fmt.Fprintf(&out, `<line class="line" x1="%.1f" y1="%d" x2="%.1f" y2="%d" opacity="%s"/><text class="faint" x="%.1f" y="%d" text-anchor="middle">%g×</text>`+"\n",
			at, chartTop-6, at, y+4, opacity(power), at, height-12, math.Exp2(power))
	}
	out.WriteString(bars + "</svg>\n")
	return out.String()
}

// barsOf draws the rows, those of each rival under its name, and returns where they
// end.
func barsOf(rows []row, x func(float64) float64) (bars string, y int) {
	y = chartTop
	for _, rival := range rivals {
		of := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.Rival != rival })
		if len(of) == 0 {
			continue
		}
		bars += fmt.Sprintf(`<text class="rival" x="10" y="%d">than %s</text>`+"\n", y+15, html.EscapeString(rival))
		y += chartRow
		for _, r := range of {
			bars += bar(r, y, x)
			y += chartRow
		}
	}
	return bars, y
}

// scaleOf is the range of the scale as powers of two.
func scaleOf(rows []row) (low, high float64) {
	low, high = -1, 1
	for _, r := range rows {
		if ratio := r.ratio(); ratio > 0 {
			low, high = min(low, math.Floor(math.Log2(ratio))), max(high, math.Ceil(math.Log2(ratio)))
		}
	}
	return low, high
}

// opacity makes the line of equality stand out.
func opacity(power float64) string {
	if power == 0 {
		return "1"
	}
	return "0.3"
}

func bar(r row, y int, x func(float64) float64) string {
	ratio := r.ratio()
	if ratio <= 0 {
		return ""
	}
	from, to, class := x(1), x(ratio), "bar"
	if ratio < 1 {
		from, to, class = to, from, "behind"
	}
	text := fmt.Sprintf(`<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLabel-10, y+15, html.EscapeString(r.label()))
	text += fmt.Sprintf(`<rect class="%s" x="%.1f" y="%d" width="%.1f" height="14" rx="2"/>`, class, from, y+4, to-from)
	text += fmt.Sprintf(`<text x="%.1f" y="%d">%s×</text>`, max(from, to)+6, y+15, number(ratio))
	return text + "\n"
}

// label names the row, and its server where the name does not.
func (r row) label() string {
	for _, kind := range []string{"transfer ", "small "} {
		if server, ok := strings.CutPrefix(r.Group, kind); ok {
			return r.Name + ", " + server
		}
	}
	return r.Name
}
