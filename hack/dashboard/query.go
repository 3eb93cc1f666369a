package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// series is one line of a panel.
type series struct {
	name   string
	points []point
}

type point struct {
	at    time.Time
	value float64
}

func (s series) last() float64 { return s.points[len(s.points)-1].value }

// step is how far the points of a line are apart.
const step = time.Hour

// ask asks the queries of a panel, each of which must have an answer.
func (p *panel) ask(ctx context.Context, address string) (all []series, err error) {
	for _, t := range p.Targets {
		query := url.Values{"query": {t.Expr}, "start": {unix(begin)}, "end": {unix(end)}, "step": {strconv.Itoa(int(step.Seconds()))}}
		if p.Type == "stat" {
			query.Set("start", unix(end))
		}
		found, err := ask(ctx, address+"/api/v1/query_range?"+query.Encode())
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no data for %s", t.Expr)
		}
		for _, f := range found {
			all = append(all, f.series(t.LegendFormat))
		}
	}
	return all, nil
}

// answer is one series of Prometheus' HTTP API.
type answer struct {
	Metric map[string]string
	Values [][2]any // seconds, and the value as text
}

func ask(ctx context.Context, address string) ([]answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var told struct {
		Status, Error string
		Data          struct{ Result []answer }
	}
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil {
		return nil, err
	}
	if told.Status != "success" {
		return nil, fmt.Errorf("prometheus says: %s", told.Error)
	}
	return told.Data.Result, nil
}

var label = regexp.MustCompile(`{{(\w+)}}`)

func (a answer) series(legend string) series {
	s := series{name: label.ReplaceAllStringFunc(legend, func(found string) string { return a.Metric[found[2:len(found)-2]] })}
	for _, v := range a.Values {
		seconds, _ := v[0].(float64)
		text, _ := v[1].(string)
		value, _ := strconv.ParseFloat(text, 64)
		s.points = append(s.points, point{time.Unix(int64(seconds), 0), value})
	}
	return s
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
