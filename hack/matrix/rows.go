package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// rows are the newest of everything, each older version with the newest of the
// rest, and the oldest of everything.
func rows(editions map[string][]testbed.Edition) []row {
	newest, oldest := map[string]string{}, map[string]string{}
	for kind, all := range editions {
		newest[kind], oldest[kind] = all[0].Version, all[len(all)-1].Version
	}
	all := []row{{newest, ""}, {newest, retains}, {newest, waits}}
	for _, kind := range kinds {
		for _, e := range editions[kind][1:] {
			one := maps.Clone(newest)
			one[kind] = e.Version
			all = append(all, row{one, ""})
		}
	}
	return append(all, row{oldest, ""}, row{oldest, retains}, row{oldest, waits})
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

// run builds the row's programs and runs the tests. The cluster tests do not use
// Velero.
func (r row) run(ctx context.Context, o options) (result, error) {
	done := result{Versions: r.versions, Conditions: r.conditions, Date: time.Now().UTC().Format(time.DateOnly)}
	_, built, err := r.command(ctx, ".", r.log(o, "parts"), "go", "run", "./hack/parts",
		"etcd", "kube-apiserver", "kube-controller-manager", "snapshot-controller", "csi-snapshotter", "csi-provisioner", "snapshot-crds", "velero", "versitygw")
	if err != nil || !built {
		return done, errors.Join(err, fmt.Errorf("the programs were not built; see %s", r.log(o, "parts")))
	}
	if r.onlyVelero() {
		done.Cluster = asNewest
	} else if done.Cluster, err = r.test(ctx, ".", r.log(o, "cluster"), "-timeout=60m", "-run="+o.cluster, "./snapshotter"); err != nil {
		return done, err
	}
	done.MainJob, err = r.test(ctx, "internal/e2e", r.log(o, "main-job"), "-timeout=20m", "-run=^TestMainJob$", ".")
	return done, err
}

// asNewest stands for cluster tests that have been run in the first row.
const asNewest = "as with the newest"

// onlyVelero says that the row differs from the first one in Velero alone.
func (r row) onlyVelero() bool {
	for kind, all := range testbed.Editions() {
		if kind != "velero" && r.versions[kind] != all[0].Version {
			return false
		}
	}
	return r.conditions == "" && r.versions["velero"] != testbed.Editions()["velero"][0].Version
}

func (r row) test(ctx context.Context, dir, log string, args ...string) (string, error) {
	output, passed, err := r.command(ctx, dir, log, append([]string{"go", "test", "-count=1", "-v"}, args...)...)
	return verdict(output, passed), err
}

var (
	passedTest = regexp.MustCompile(`(?m)^--- PASS: \w+`)
	failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
)

// verdict says how many tests passed, or which failed. Tests that did not run did
// not pass.
func verdict(output []byte, passed bool) string {
	var names []string
	for _, match := range failedTest.FindAllSubmatch(output, -1) {
		names = append(names, string(match[1]))
	}
	count := len(passedTest.FindAll(output, -1))
	switch {
	case len(names) > 0:
		slices.Sort(names)
		return fmt.Sprintf("%d of %d fail: %s", len(names), len(names)+count, strings.Join(names, ", "))
	case !passed || count == 0:
		return "did not run"
	default:
		return fmt.Sprintf("%d pass", count)
	}
}
