package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

const root = "../.."

// TestDashboard wants what Grafana does not say: panels with IDs of their own that do
// not cover each other.
func TestDashboard(t *testing.T) {
	d, err := read(root)
	require.NoError(t, err)
	require.NotEmpty(t, d.Panels)
	ids, cells := map[int]bool{}, map[[2]int]bool{}
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		require.Contains(t, []string{"stat", "timeseries"}, p.Type)
		require.NotEmpty(t, p.Targets, p.Title)
		refs := map[string]bool{}
		for _, target := range p.Targets {
			require.False(t, refs[target.RefID], p.Title)
			refs[target.RefID] = true
		}
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.False(t, cells[[2]int{x, y}], p.Title)
				cells[[2]int{x, y}] = true
			}
		}
	}
}

// TestPicture has a real Prometheus answer each query of the dashboard, and wants the
// picture in the documents to be of these answers.
func TestPicture(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Prometheus")
	}
	testbed.RequirePart(t, testbed.Prometheus)
	drawn, err := picture(t.Context(), root)
	require.NoError(t, err)
	stored, err := os.ReadFile(filepath.Join(root, pictureFile))
	require.NoError(t, err)
	require.Equal(t, string(stored), drawn, "make picture draws it anew")
}
