package testbed

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// MatrixVariable is the environment variable that chooses what clusters are made
// of, for tests that know nothing of it: "kubernetes=1.31 snapshotter=7.0.2
// provisioner=5.3.0 velero=1.14.1". A version may leave out its last numbers; a part
// that is not named has the newest. Conditions follow in the same form:
//
//   - metadata=yes is ClusterOptions.ExtraCreateMetadata for every cluster;
//   - class=CLASS is the class of claims that ask for none.
const MatrixVariable = "LONGSHORE_MATRIX"

// Edition is a version of programs that is built from a module of its own.
type Edition struct {
	Version string
	module  string
	// major is the last part of the program's module path, where it has one.
	major string
}

// editions are the versions there are of what users have different versions of, the
// newest first.
var editions = map[string][]Edition{
	"kubernetes": {
		{"1.36.3", "hack/tools/kubernetes", ""},
		{"1.31.14", "hack/tools/kubernetes-1.31", ""},
	},
	"snapshotter": {
		{"8.7.0", "hack/tools/kubernetes", "v8"},
		{"8.2.1", "hack/tools/snapshotter-8.2", "v8"},
		{"7.0.2", "hack/tools/snapshotter-7.0", "v7"},
		{"6.3.0", "hack/tools/snapshotter-6.3", "v6"},
	},
	"provisioner": {
		{"6.3.0", "hack/tools/kubernetes", "v6"},
		{"5.3.0", "hack/tools/provisioner-5.3", "v5"},
	},
	"velero": {
		{"1.18.3", "hack/tools/velero", ""},
		{"1.17.2", "hack/tools/velero-1.17", ""},
		{"1.16.2", "hack/tools/velero-1.16", ""},
		{"1.15.2", "hack/tools/velero-1.15", ""},
		{"1.14.1", "hack/tools/velero-1.14", ""},
	},
}

// Editions are the versions there are of "kubernetes", "snapshotter", "provisioner"
// and "velero", the newest first.
func Editions() map[string][]Edition { return maps.Clone(editions) }

// Chosen is the version of that kind which clusters are made of.
func Chosen(kind string) string {
	m, _ := chosenMatrix() // a mistake is the error of the part's build
	return m.editions[kind].Version
}

// matrix is what the environment chose.
type matrix struct {
	editions map[string]Edition
	metadata bool
	class    string
}

// chosenMatrix reads the environment once; parts are chosen before main runs.
var chosenMatrix = sync.OnceValues(func() (matrix, error) { return parseMatrix(os.Getenv(MatrixVariable)) })

func parseMatrix(text string) (matrix, error) {
	m := matrix{editions: map[string]Edition{}, class: ClassImmediate}
	for kind, all := range editions {
		m.editions[kind] = all[0]
	}
	for _, field := range strings.Fields(text) {
		key, value, _ := strings.Cut(field, "=")
		if err := m.set(key, value); err != nil {
			return m, fmt.Errorf("%s: %q: %w", MatrixVariable, field, err)
		}
	}
	return m, nil
}

func (m *matrix) set(key, value string) error {
	switch key {
	case "metadata":
		if value != "yes" {
			return errors.New("metadata is yes or left out")
		}
		m.metadata = true
		return nil
	case "class":
		classes := []string{ClassImmediate, ClassWaitForFirstConsumer, ClassRetain}
		if !slices.Contains(classes, value) {
			return fmt.Errorf("class is one of %s", strings.Join(classes, ", "))
		}
		m.class = value
		return nil
	}
	for _, e := range editions[key] {
		if e.Version == value || strings.HasPrefix(e.Version, value+".") && value != "" {
			m.editions[key] = e
			return nil
		}
	}
	if editions[key] == nil {
		return fmt.Errorf("there are %s, metadata and class", strings.Join(slices.Sorted(maps.Keys(editions)), ", "))
	}
	return fmt.Errorf("the versions of %s are %s", key, versionsOf(key))
}

func versionsOf(kind string) string {
	var all []string
	for _, e := range editions[kind] {
		all = append(all, e.Version)
	}
	return strings.Join(all, ", ")
}

// of makes the part that of the edition which the environment chose. A mistake in
// the environment is the part's own from then on.
func (p Part) of(kind string) Part {
	m, err := chosenMatrix()
	e := m.editions[kind]
	p.wrong = err
	p.Module = e.module
	p.Package = strings.ReplaceAll(p.Package, "MAJOR", e.major)
	p.versionOf = strings.ReplaceAll(p.versionOf, "MAJOR", e.major)
	return p
}
