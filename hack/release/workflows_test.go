package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// workflow is what counts of a workflow of the public CI.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Uses           string
		TimeoutMinutes int `yaml:"timeout-minutes"`
		Steps          []struct {
			Uses, Run string
			With      map[string]any
		}
	}
}

var (
	pinned     = regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`)
	makeTarget = regexp.MustCompile(`(?m)^make ([a-z-]+)`)
	target     = regexp.MustCompile(`(?m)^([a-z-]+):.*## `)
)

// TestWorkflows wants the public CI to do what a developer does, by targets that
// exist.
func TestWorkflows(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	targets := firstGroups(target, string(makefile))
	called, versions := map[string][]string{}, map[any]bool{}
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	require.NoError(t, err)
	for _, file := range files {
		for id, job := range readWorkflow(t, file).Jobs {
			require.True(t, job.TimeoutMinutes > 0 || job.Uses != "", "%s: %s has no timeout", file, id)
			for _, step := range job.Steps {
				require.True(t, step.Uses == "" || pinned.MatchString(step.Uses), "%s is not pinned by its commit", step.Uses)
				if strings.HasPrefix(step.Uses, "actions/setup-go@") {
					versions[step.With["go-version"]] = true
				}
				called[filepath.Base(file)] = append(called[filepath.Base(file)], firstGroups(makeTarget, step.Run)...)
			}
		}
		require.Subset(t, targets, called[filepath.Base(file)])
	}
	require.Subset(t, called["ci.yml"], []string{"test", "verify", "release"})
	require.Subset(t, called["release.yml"], []string{"release", "push"})
	require.Len(t, versions, 1, "one Go tests and releases")
}

func readWorkflow(t *testing.T, file string) workflow {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var w workflow
	require.NoError(t, yaml.Unmarshal(content, &w), file)
	require.Equal(t, map[string]string{"contents": "read"}, w.Permissions, file)
	return w
}

func firstGroups(expression *regexp.Regexp, text string) []string {
	var all []string
	for _, found := range expression.FindAllStringSubmatch(text, -1) {
		all = append(all, found[1])
	}
	return all
}

// TestWorkflowsAreValid asks the linter of such files.
func TestWorkflowsAreValid(t *testing.T) {
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	args := append([]string{"tool", "-modfile=../tools/actionlint/go.mod", "actionlint", "-shellcheck=", "-pyflakes="}, files...)
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	require.NoError(t, err, string(out))
}
