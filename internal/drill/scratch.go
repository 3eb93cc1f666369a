package drill

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// Labels and annotations of all that a drill makes. The next drill finds it by them.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "longshore"
	labelPurpose   = "longshore.dev/purpose"
	purpose        = "drill"
	labelVelero    = "longshore.dev/velero" // the namespace of the Velero whose backup it is
	labelDrill     = "longshore.dev/drill"  // the drill's ID
	labelExclude   = "velero.io/exclude-from-backup"

	annotationBackup = "longshore.dev/backup"
	annotationSource = "longshore.dev/namespace" // what a scratch namespace stands for
)

// selector selects what the drills of one Velero made, or the one of an ID.
func (c *Cluster) selector(id string) string {
	text := labelManagedBy + "=" + managedBy + "," + labelPurpose + "=" + purpose + "," + labelVelero + "=" + c.Namespace
	if id != "" {
		text += "," + labelDrill + "=" + id
	}
	return text
}

// object makes one of a drill.
func (d *drill) newObject(apiVersion, kind, namespace, name string) *object {
	o := &object{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	o.SetName(name)
	o.SetNamespace(namespace)
	o.SetLabels(map[string]string{
		labelManagedBy: managedBy, labelPurpose: purpose, labelVelero: d.Namespace, labelDrill: d.report.Drill, labelExclude: "true",
	})
	o.SetAnnotations(map[string]string{annotationBackup: d.name})
	return o
}

// idLength is how many characters the random ID of a drill has.
const idLength = 8

// longestName is how long the name of a namespace may be.
const longestName = 63

// scratchNames are the namespaces to restore into: drill-ID-NAME.
func scratchNames(id string, names []string) map[string]string {
	all, taken := map[string]string{}, map[string]bool{}
	for _, name := range names {
		scratch := controlName(id) + "-" + name
		for n := 2; len(scratch) > longestName || taken[scratch]; n++ {
			end := fmt.Sprintf("-%d", n)
			scratch = strings.TrimRight((controlName(id) + "-" + name)[:min(len(controlName(id)+"-"+name), longestName-len(end))], "-") + end
		}
		all[name], taken[scratch] = scratch, true
	}
	return all
}

// controlName is the namespace in which nothing is restored.
func controlName(id string) string { return "drill-" + id }

// isScratch tells whether a namespace of that name is one of the drill.
func isScratch(id, name string) bool {
	return name == controlName(id) || strings.HasPrefix(name, controlName(id)+"-")
}

func (d *drill) control() string { return controlName(d.report.Drill) }

// holderName is the name of the Restore and of the Lease of a drill.
func holderName(id string) string { return "longshore-drill-" + id }

// prepare takes the Lease and makes the namespaces.
func (d *drill) prepare(ctx context.Context) (string, error) {
	if err := d.takeLease(ctx); err != nil {
		return "", err
	}
	if err := d.makeNamespace(ctx, "", d.control(), nil); err != nil {
		return "", err
	}
	for _, name := range d.plan.names() {
		if err := d.makeNamespace(ctx, name, d.report.Namespaces[name], d.plan.namespaces[name].labels); err != nil {
			return "", err
		}
	}
	return few(slices.Sorted(maps.Values(d.report.Namespaces))), nil
}

func (d *drill) makeNamespace(ctx context.Context, source, name string, labels map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o := d.newObject("v1", "Namespace", "", name)
	all := o.GetLabels()
	maps.Copy(all, labels)
	o.SetLabels(all)
	if source != "" {
		o.SetAnnotations(map[string]string{annotationBackup: d.name, annotationSource: source})
	}
	_, err := d.namespaces.Create(ctx, o)
	if apierrors.IsForbidden(err) {
		return check.Fail(err.Error(), "a drill needs the rights to make and delete namespaces, as Velero's own account has them by default")
	}
	return err
}
