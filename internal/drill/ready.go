package drill

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// claims waits until the claims of the backup that were bound are Bound again.
func (d *drill) claims(ctx context.Context) (string, error) {
	all := 0
	for _, name := range d.plan.names() {
		wanted, scratch := d.plan.namespaces[name].claims, d.report.Namespaces[name]
		all += len(wanted)
		err := poll(ctx, "the claims in "+scratch, func(ctx context.Context) (bool, string, error) {
			list, err := d.Kube.Claims.In(scratch).List(ctx, "")
			if err != nil {
				return false, "", err
			}
			waiting := unbound(slices.Sorted(maps.Keys(wanted)), list)
			return len(waiting) == 0, few(waiting), d.hopeless(ctx, list)
		})
		if err != nil {
			return "", inTime(ctx, d.withEvents(ctx, err, scratch, "PersistentVolumeClaim"), "a real restore would wait here too; kubectl get events tells more where the controllers say why")
		}
	}
	return check.Count(all, "claim") + " Bound", nil
}

// unbound are those of the wanted claims that are not there or not Bound.
func unbound(wanted []string, list []*corev1.PersistentVolumeClaim) []string {
	var all []string
	for _, name := range wanted {
		i := slices.IndexFunc(list, func(c *corev1.PersistentVolumeClaim) bool { return c.Name == name })
		switch {
		case i < 0:
			all = append(all, "claim "+name+" is not there")
		case list[i].Status.Phase != corev1.ClaimBound:
			all = append(all, fmt.Sprintf("claim %s is %s", name, list[i].Status.Phase))
		}
	}
	return all
}

// hopeless fails where a claim waits for a volume that nobody will make.
func (d *drill) hopeless(ctx context.Context, list []*corev1.PersistentVolumeClaim) error {
	for _, claim := range list {
		class := ptr.Deref(claim.Spec.StorageClassName, "")
		if claim.Status.Phase == corev1.ClaimBound || claim.Spec.VolumeName != "" || class == "" {
			continue
		}
		found, err := d.Kube.StorageClasses.Find(ctx, class)
		if err != nil {
			return err
		}
		if found == nil {
			return check.Fail(fmt.Sprintf("claim %s is Pending for ever: StorageClass %s is not in this cluster", claim.Name, class),
				"create the class, or map it to another by Velero's ConfigMap (labels velero.io/plugin-config and velero.io/change-storage-class=RestoreItemAction)")
		}
	}
	return nil
}

// withEvents adds the last warning about the objects of a kind to an error.
func (c *Cluster) withEvents(ctx context.Context, err error, namespace, kind string) error {
	var list struct {
		Items []struct {
			Message        string
			InvolvedObject struct{ Name string }
		}
	}
	query := map[string]string{"fieldSelector": "type=Warning,involvedObject.kind=" + kind}
	if check.IsFinding(err) || c.get(context.WithoutCancel(ctx), "/api/v1/namespaces/"+namespace+"/events", query, &list) != nil || len(list.Items) == 0 {
		return err
	}
	last := list.Items[len(list.Items)-1]
	return fmt.Errorf("%w; of %s it is said: %s", err, last.InvolvedObject.Name, clean(last.Message))
}

// workload is what is read of a Deployment, a StatefulSet, a DaemonSet or a pod.
type workload struct {
	Metadata struct {
		Name            string
		Generation      int64
		OwnerReferences []struct {
			UID        types.UID
			Controller bool
		}
	}
	Spec   struct{ Replicas *int }
	Status struct {
		ObservedGeneration     int64
		ReadyReplicas          int
		UpdatedReplicas        int
		NumberReady            int
		DesiredNumberScheduled int
		Phase                  string
		Conditions             []struct{ Type, Status string }
		ContainerStatuses      []struct {
			State struct {
				Waiting    struct{ Reason string }
				Terminated struct {
					ExitCode        int
					Reason, Message string
				}
			}
		}
	}
}

// notReady says what a workload lacks, "" if it is ready.
func (w *workload) notReady(kind string) string {
	s := &w.Status
	wanted, ready := s.DesiredNumberScheduled, s.NumberReady
	switch kind {
	case "pod":
		return w.podNotReady()
	case "Deployment", "StatefulSet":
		wanted, ready = 1, s.ReadyReplicas
		if w.Spec.Replicas != nil {
			wanted = *w.Spec.Replicas
		}
	}
	name := kind + " " + clean(w.Metadata.Name)
	switch {
	case s.ObservedGeneration < w.Metadata.Generation:
		return name + " is not yet seen by its controller"
	case ready < wanted:
		return fmt.Sprintf("%s has %d of %d pods ready", name, ready, wanted)
	}
	return ""
}

// podNotReady is notReady for a pod that stands by itself: others are counted by
// what controls them.
func (w *workload) podNotReady() string {
	for _, owner := range w.Metadata.OwnerReferences {
		if owner.Controller {
			return ""
		}
	}
	return w.podLacks()
}

// podLacks says how a pod is that is not ready, "" for one that is.
func (w *workload) podLacks() string {
	if w.Status.Phase == "Succeeded" {
		return ""
	}
	for _, c := range w.Status.Conditions {
		if c.Type == "Ready" && c.Status == "True" {
			return ""
		}
	}
	return w.state()
}

// ownedBy tells whether a pod was made by what has that UID.
func (w *workload) ownedBy(uid types.UID) bool {
	for _, owner := range w.Metadata.OwnerReferences {
		if owner.Controller && owner.UID == uid {
			return true
		}
	}
	return false
}

// state says how a pod is, and why a container of it does not run.
func (w *workload) state() string {
	text := "pod " + clean(w.Metadata.Name) + " is " + clean(w.Status.Phase)
	for _, c := range w.Status.ContainerStatuses {
		switch ended := c.State.Terminated; {
		case c.State.Waiting.Reason != "":
			return text + " (" + clean(c.State.Waiting.Reason) + ")"
		case ended.ExitCode != 0:
			return text + " (" + clean(strings.TrimSuffix(fmt.Sprintf("exit code %d, %s: %s", ended.ExitCode, ended.Reason, ended.Message), ": ")) + ")"
		}
	}
	return text
}

// workloads waits until all are ready.
func (d *drill) workloads(ctx context.Context) (string, error) {
	all := 0
	for _, name := range d.plan.names() {
		scratch, here := d.report.Namespaces[name], 0
		err := poll(ctx, "the workloads in "+scratch, func(ctx context.Context) (bool, string, error) {
			lacking, n, err := d.lacking(ctx, scratch)
			here = n
			return len(lacking) == 0, few(lacking), err
		})
		if err != nil {
			return "", inTime(ctx, d.withEvents(ctx, err, scratch, "Pod"), "look at its image, its Secrets and what it needs of other namespaces or of the cluster; --until bound does without workloads")
		}
		all += here
	}
	return check.Count(all, "workload") + " ready", nil
}

// lacking are the workloads of a namespace that are not ready. The pods, which come last,
// say why.
func (d *drill) lacking(ctx context.Context, namespace string) (lacking []string, all int, err error) {
	for _, kind := range []struct{ name, version, plural string }{
		{"Deployment", "apps/v1", "deployments"}, {"StatefulSet", "apps/v1", "statefulsets"}, {"DaemonSet", "apps/v1", "daemonsets"}, {"pod", "v1", "pods"},
	} {
		var list struct{ Items []workload }
		if err := d.get(ctx, pathOf(kind.version, namespace, kind.plural, ""), nil, &list); err != nil {
			return nil, 0, err
		}
		for i := range list.Items {
			all++
			why := list.Items[i].notReady(kind.name)
			if kind.name == "pod" && len(lacking) > 0 {
				why = list.Items[i].podLacks()
			}
			if why != "" {
				lacking = append(lacking, why)
			}
		}
	}
	return lacking, all, nil
}
