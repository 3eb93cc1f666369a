package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// workflow is what counts of a workflow of the public CI.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]job
}

type job struct {
	Uses           string
	Permissions    map[string]string
	Container      struct{ Image string }
	TimeoutMinutes int `yaml:"timeout-minutes"`
	Steps          []struct {
		Uses, Run string
		With      map[string]any
	}
}

var (
	pinned     = regexp.MustCompile(`^[a-z-]+/[a-z/-]+@[0-9a-f]{40}$`)
	makeTarget = regexp.MustCompile(`(?m)^make ([a-z-]+)`)
	target     = regexp.MustCompile(`(?m)^([a-z-]+):.*## `)
)

// TestWorkflows wants the public CI to do what a developer does, by targets that
// exist.
func TestWorkflows(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	targets := firstGroups(target, string(makefile))
	called, versions, publishing := map[string][]string{}, map[any]bool{}, map[string][]string{}
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	require.NoError(t, err)
	for _, file := range files {
		for id, job := range readWorkflow(t, file).Jobs {
			require.True(t, job.TimeoutMinutes > 0 || job.Uses != "", "%s: %s has no timeout", file, id)
			require.True(t, job.Container.Image == "" || strings.Contains(job.Container.Image, "@sha256:"), "%s: %s is not pinned by its digest", file, job.Container.Image)
			if rights := writes(job); len(rights) > 0 {
				publishing[filepath.Base(file)+" "+id] = rights
			}
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
	require.Subset(t, called["ci.yml"], []string{"test", "verify", "cross", "release", "sign"})
	require.Subset(t, called["release.yml"], []string{"release", "push"})
	require.Contains(t, called["security.yml"], "vulncheck")
	require.Len(t, versions, 1, "one Go tests and releases")
	require.Equal(t, map[string][]string{
		"release.yml publish":     {"attestations", "contents", "id-token", "packages"},
		"security.yml codeql":     {"security-events"},
		"scorecard.yml scorecard": {"id-token", "security-events"},
	}, publishing, "no other job can change anything")
}

// writes are the rights of a job to change something.
func writes(j job) []string {
	var rights []string
	for right, access := range j.Permissions {
		if access != "read" {
			rights = append(rights, right)
		}
	}
	slices.Sort(rights)
	return rights
}

// TestDependabot wants every folder that is kept up to date to be a module.
func TestDependabot(t *testing.T) {
	content, err := os.ReadFile("../../.github/dependabot.yml")
	require.NoError(t, err)
	var config struct {
		Updates []struct{ Directories []string }
	}
	require.NoError(t, yaml.Unmarshal(content, &config))
	seen := 0
	for _, update := range config.Updates {
		for _, folder := range update.Directories {
			require.FileExists(t, filepath.Join("../..", folder, "go.mod"))
			seen++
		}
	}
	require.Positive(t, seen)
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
