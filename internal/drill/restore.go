package drill

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/longshore-dev/velero-plugin/internal/backups"
	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// restore has Velero restore, what was named of the cluster first.
func (d *drill) restore(ctx context.Context) (string, error) {
	spec := d.restoreSpec()
	if len(d.o.ClusterResources) > 0 {
		mapping, _ := spec["namespaceMapping"].(map[string]any)
		if detail, err := d.restoreBy(ctx, clusterRestoreName(d.report.Drill), d.clusterSpec(mapping)); err != nil {
			return detail, err
		}
	}
	detail, err := d.restoreBy(ctx, holderName(d.report.Drill), spec)
	if err == nil || check.IsFinding(err) {
		err = cmp.Or(d.requireCopies(ctx), err)
	}
	return detail, err
}

// restoreBy makes a Restore and waits for its end.
func (d *drill) restoreBy(ctx context.Context, name string, spec map[string]any) (string, error) {
	wanted := d.newObject("velero.io/v1", "Restore", d.Namespace, name)
	wanted.Object["spec"] = spec
	made, err := d.restores.Create(ctx, wanted)
	if err != nil {
		return "", err
	}
	target := kube.Target{Name: name, Object: d.restores.Describe(name), Until: "Velero to end it"}
	ended, err := d.restores.Until(ctx, target, made, func(now *object) (bool, string, error) {
		if now == nil {
			return false, "", fmt.Errorf("%s was deleted by someone else", target.Object)
		}
		phase := phaseOf(now)
		return backups.Finished(phase), fmt.Sprintf("phase %q", phase), nil
	})
	if err != nil {
		return "", inTime(ctx, err, "if its phase is still empty or New, Velero's server does not run or restores something else: look at its log; "+
			"in WaitingForPluginOperations it waits for volumes: look at their driver and, if a data mover saved them, at the pods of Velero's node agent; else raise --timeout")
	}
	return d.restoreEnded(ctx, ended)
}

// restoreSpec maps each namespace, and leaves all that belongs to the cluster out but
// the volumes of the claims. Velero asks for what an item needs, too, and of that
// only what is excluded by its kind stays out.
func (d *drill) restoreSpec() map[string]any {
	excluded := slices.Clone(d.o.ExcludeResources)
	for _, resource := range slices.Sorted(maps.Keys(d.plan.clusterScoped)) {
		if !d.plan.csi || !strings.HasSuffix(resource, ".snapshot.storage.k8s.io") {
			excluded = append(excluded, resource)
		}
	}
	mapping := map[string]any{}
	for name, scratch := range d.report.Namespaces {
		mapping[name] = scratch
	}
	return map[string]any{
		"backupName": d.name, "includedNamespaces": anys(d.plan.names()), "excludedResources": anys(excluded),
		"namespaceMapping": mapping, "existingResourcePolicy": "none",
	}
}

func anys(words []string) []any {
	all := []any{}
	for _, word := range words {
		all = append(all, word)
	}
	return all
}

func phaseOf(o *object) string {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	return phase
}

// restoreEnded says what came of the Restore.
func (d *drill) restoreEnded(ctx context.Context, r *object) (string, error) {
	phase := phaseOf(r)
	if phase == backups.PhaseCompleted {
		return d.completed(ctx, r), nil
	}
	why, _, _ := unstructured.NestedStringSlice(r.Object, "status", "validationErrors")
	if reason, _, _ := unstructured.NestedString(r.Object, "status", "failureReason"); reason != "" {
		why = append(why, reason)
	}
	results, err := d.l.RestoreResults(ctx, r.GetName())
	if err == nil {
		why = append(why, results.Errors.All()...)
	}
	return "", check.Fail("the Restore is "+phase+": "+few(why), "a real restore would end like this too; its log is gone with it: read it by velero restore create with the same mapping")
}

// completed tells of the warnings, too: they go with the Restore.
func (d *drill) completed(ctx context.Context, r *object) string {
	phase := phaseOf(r)
	count, _, _ := unstructured.NestedInt64(r.Object, "status", "warnings")
	if count == 0 {
		return phase
	}
	results, err := d.l.RestoreResults(ctx, r.GetName())
	said := results.Warnings.All()
	if err != nil {
		said = []string{"which cannot be read: " + err.Error()}
	}
	return fmt.Sprintf("%s, with %s: %s", phase, check.Count(int(count), "warning"), few(said))
}
