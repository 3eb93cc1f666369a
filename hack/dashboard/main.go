// Command dashboard draws docs/dashboard.svg: the panels of the Grafana dashboard in
// docs/examples, with what a real Prometheus answers to their queries. Its history is
// made up, see history.go; so the picture is the same each time. Run it in the
// repository's root: make picture
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// Where the dashboard and its picture are, below the root of the repository.
var (
	dashboardFile = filepath.Join("docs", "examples", "grafana-dashboard.json")
	pictureFile   = filepath.Join("docs", "dashboard.svg")
)

// dashboard is one of Grafana's, as far as it is drawn.
type dashboard struct {
	Title  string
	Panels []panel
}

type panel struct {
	ID      int
	Type    string // stat or timeseries
	Title   string
	GridPos struct{ X, Y, W, H int } // 24 columns are the whole width
	Targets []struct {
		RefID        string `json:"refId"`
		Expr         string
		LegendFormat string
	}
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
			Mappings []struct {
				Options map[string]struct{ Text, Color string }
			}
		}
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	picture, err := picture(ctx, ".")
	cancel()
	if err == nil {
		err = os.WriteFile(pictureFile, []byte(picture), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// read reads the dashboard of the repository in root.
func read(root string) (*dashboard, error) {
	text, err := os.ReadFile(filepath.Join(root, dashboardFile))
	if err != nil {
		return nil, err
	}
	var d dashboard
	return &d, json.Unmarshal(text, &d)
}

// picture has a Prometheus answer the queries of all panels, and draws them.
func picture(ctx context.Context, root string) (string, error) {
	d, err := read(root)
	if err != nil {
		return "", err
	}
	bed, err := testbed.New(testbed.Options{})
	if err != nil {
		return "", err
	}
	defer bed.Close()
	_, address, err := bed.StartPrometheus(ctx, "{}", history())
	if err != nil {
		return "", err
	}
	var answers [][]series
	for _, p := range d.Panels {
		answer, err := p.ask(ctx, address)
		if err != nil {
			return "", fmt.Errorf("panel %q: %w", p.Title, err)
		}
		answers = append(answers, answer)
	}
	return draw(d, answers), nil
}
