package main

import (
	"context"
	"fmt"
	"time"
)

// inTurn lets each session take its turn in each round, so that what else the
// machine does hits all alike. take returns one figure for each of rows.
func inTurn(ctx context.Context, rounds int, all sessions, rows []row, take func(s *session, round int) ([]float64, error)) ([]row, error) {
	besidePeer(rows)
	for round := range rounds {
		for _, s := range all {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			figures, err := take(s, round)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", s.program.name, round+1, err)
			}
			for i, figure := range figures {
				rows[i].Samples[s.program.name] = append(rows[i].Samples[s.program.name], figure)
			}
		}
	}
	return rows, nil
}

// besidePeer has the rows begin without figures, and be compared with the peer.
func besidePeer(rows []row) []row {
	for i := range rows {
		rows[i].Rival, rows[i].Samples = peerPlugin, map[string][]float64{}
	}
	return rows
}

// cost is what a piece of work took.
type cost struct {
	wall, processor time.Duration
}

// clock measures work by the wall and by the processor time of the plugin.
func (s *session) clock(work func() error) (cost, error) {
	before, err := processorTime(s.pid)
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return cost{}, err
	}
	wall := time.Since(began)
	after, err := processorTime(s.pid)
	return cost{wall: wall, processor: after - before}, err
}

// perSecond is the speed of doing n things.
func (c cost) perSecond(n float64) float64 { return n / c.wall.Seconds() }
