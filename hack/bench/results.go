package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// row is one thing measured, with the figures of every round.
type row struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	// Higher says that more is better.
	Higher bool `json:"higher,omitempty"`
	// When is the date of the run, Revision what was run, and Processor on what.
	When      string `json:"when"`
	Revision  string `json:"revision"`
	Processor string `json:"processor"`
	// Rival is the one that ours is compared with.
	Rival string `json:"rival"`
	// Samples has the figure of each round by the name of who made it.
	Samples map[string][]float64 `json:"samples"`
}

// results is everything known, the last run of each group.
type results struct {
	Machine machine `json:"machine"`
	Rows    []row   `json:"rows"`
}

func load(path string) (*results, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &results{}, nil
	}
	if err != nil {
		return nil, err
	}
	var known results
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, fmt.Errorf("read the earlier figures in %s: %w", path, err)
	}
	return &known, nil
}

func (r *results) save(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// replace puts rows in the place of the group's earlier ones and keeps the
// groups in the order of the report.
func (r *results) replace(name string, rows []row) {
	r.Rows = slices.DeleteFunc(r.Rows, func(old row) bool { return old.Group == name })
	r.Rows = append(r.Rows, rows...)
	position := map[string]int{}
	for i, g := range groups(false) {
		position[g.name] = i
	}
	slices.SortStableFunc(r.Rows, func(a, b row) int { return position[a.Group] - position[b.Group] })
}

// ratio is how many times better ours is than the rival: the median over the
// rounds, in each of which both ran one right after the other.
func (r row) ratio() float64 {
	mine, theirs := r.Samples[ours], r.Samples[r.Rival]
	var ratios []float64
	for i := range min(len(mine), len(theirs)) {
		if r.Higher {
			ratios = append(ratios, mine[i]/theirs[i])
		} else {
			ratios = append(ratios, theirs[i]/mine[i])
		}
	}
	return median(ratios)
}

// median is the middle figure, 0 if there is none.
func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	switch n := len(sorted); {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	default:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
}
