package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// row is one combination: a version of each kind of program, and conditions, in
// the words of testbed.MatrixVariable.
type row struct {
	versions   map[string]string
	conditions string
}

// kinds are the columns of the table.
var kinds = []string{"kubernetes", "snapshotter", "provisioner", "velero"}

// Conditions of a cluster, together with a class of volumes each.
const (
	retains = "metadata=yes class=" + testbed.ClassRetain
	waits   = "metadata=yes class=" + testbed.ClassWaitForFirstConsumer
)

// combinations are the versions that run together, in the order of kinds: those that
// are found together in the field, from the newest to the oldest. Each version and
// each condition stands in one at least.
var combinations = []struct{ versions, conditions string }{
	{"1.36 8.7 6.3 1.18", ""},
	{"1.36 8.7 6.3 1.17", retains},
	{"1.36 8.2 6.3 1.16", waits},
	{"1.31 8.2 5.3 1.16", ""},
	{"1.31 7.0 5.3 1.15", waits},
	{"1.31 6.3 5.3 1.14", retains},
}

// rows are the combinations with the versions in full.
func rows(editions map[string][]testbed.Edition) []row {
	var all []row
	for _, c := range combinations {
		r := row{map[string]string{}, c.conditions}
		for i, short := range strings.Fields(c.versions) {
			r.versions[kinds[i]] = full(editions[kinds[i]], short)
		}
		all = append(all, r)
	}
	return all
}

// full is the version that begins so.
func full(editions []testbed.Edition, short string) string {
	for _, e := range editions {
		if strings.HasPrefix(e.Version, short+".") {
			return e.Version
		}
	}
	return short
}

func (r row) String() string { return r.matrix() }

// matrix is the value of testbed.MatrixVariable.
func (r row) matrix() string {
	var words []string
	for _, kind := range kinds {
		words = append(words, kind+"="+r.versions[kind])
	}
	return strings.TrimSpace(strings.Join(words, " ") + " " + r.conditions)
}

func (r row) fileName() string {
	return regexp.MustCompile(`[a-z]+=`).ReplaceAllString(strings.ReplaceAll(r.matrix(), " ", "-"), "")
}

// column is a group of tests that each row runs.
type column struct{ title, dir, tests string }

var columns = []column{
	{"snapshots and restores", "snapshotter", "^TestCluster"},
	{"main job", "internal/e2e", "^TestMainJob$"},
	{"groups and readiness", "internal/e2e", "^Test(Group|Readiness)$"},
	{"drills", "internal/e2e", "^TestDrill$"},
}

// run builds the row's programs and runs the tests.
func (r row) run(ctx context.Context, o options) (result, error) {
	done := result{Versions: r.versions, Conditions: r.conditions, Verdicts: map[string]string{}, Date: time.Now().UTC().Format(time.DateOnly)}
	_, built, err := r.command(ctx, ".", r.log(o, "parts"), "go", "run", "./hack/parts",
		"etcd", "kube-apiserver", "kube-controller-manager", "snapshot-controller", "csi-snapshotter", "csi-provisioner", "snapshot-crds", "velero", "versitygw")
	if err != nil || !built {
		return done, errors.Join(err, fmt.Errorf("the programs were not built; see %s", r.log(o, "parts")))
	}
	for _, c := range columns {
		if !o.columns.MatchString(c.title) {
			continue
		}
		output, passed, err := r.command(ctx, c.dir, r.log(o, strings.ReplaceAll(c.title, " ", "-")), "go", "test", "-count=1", "-v", "-timeout=60m", "-run="+c.tests, ".")
		if err != nil {
			return done, err
		}
		done.Verdicts[c.title] = verdict(output, passed)
	}
	return done, nil
}

var (
	passedTest  = regexp.MustCompile(`(?m)^--- PASS: \w+`)
	failedTest  = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
	skippedTest = regexp.MustCompile(`(?m)^--- SKIP: \w+`)
)

// verdict says how many tests passed, or which failed. A test is skipped where the
// versions lack what it is about; a program whose tests did not run did not pass.
func verdict(output []byte, passed bool) string {
	var names []string
	for _, match := range failedTest.FindAllSubmatch(output, -1) {
		names = append(names, string(match[1]))
	}
	count, skipped := len(passedTest.FindAll(output, -1)), len(skippedTest.FindAll(output, -1))
	switch {
	case len(names) > 0:
		slices.Sort(names)
		return fmt.Sprintf("%d of %d fail: %s", len(names), len(names)+count, strings.Join(names, ", "))
	case !passed || count == 0:
		return "did not run"
	case skipped > 0:
		return fmt.Sprintf("%d pass, %d skipped", count, skipped)
	default:
		return fmt.Sprintf("%d pass", count)
	}
}
