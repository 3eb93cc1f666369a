package drill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// Job is a test that is run in the cluster: it succeeds when the Job is Complete. Its
// namespace is one of the backup's, and may be missing where only one is drilled.
type Job struct{ manifest object }

// ReadJob reads the manifest of one Job, as YAML or JSON.
func ReadJob(r io.Reader) (*Job, error) {
	document, err := yaml.NewYAMLReader(bufio.NewReader(r)).Read()
	if err != nil {
		return nil, err
	}
	text, err := yaml.ToJSON(document)
	if err != nil {
		return nil, err
	}
	var j Job
	if err := j.manifest.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	if j.manifest.GetAPIVersion() != "batch/v1" || j.manifest.GetKind() != "Job" || j.manifest.GetName() == "" {
		return nil, fmt.Errorf("it is %s %s with the name %q, and must be a batch/v1 Job with a name", clean(j.manifest.GetAPIVersion()), clean(j.manifest.GetKind()), clean(j.manifest.GetName()))
	}
	return &j, nil
}

func (j *Job) run(ctx context.Context, c *Cluster, p place) (string, error) {
	of := j.manifest.GetNamespace()
	if of == "" && len(p.namespaces) == 1 {
		of = slices.Collect(maps.Keys(p.namespaces))[0]
	}
	namespace := p.namespaces[of]
	if namespace == "" {
		return "", fmt.Errorf("the Job is for namespace %q, and drilled are %s: name one of these in its metadata.namespace", of, few(slices.Sorted(maps.Keys(p.namespaces))))
	}
	jobs := c.jobs.In(namespace)
	made, err := jobs.Create(ctx, j.in(namespace, p.drill))
	if err != nil {
		return clean(err.Error()), &notStarted{err}
	}
	target := kube.Target{Name: made.GetName(), Object: jobs.Describe(made.GetName()), Until: "its end"}
	_, err = jobs.Until(ctx, target, made, func(now *object) (bool, string, error) {
		if now == nil {
			return false, "", errors.New(target.Object + " was deleted by someone else")
		}
		return ended(now)
	})
	var no *failed
	switch {
	case err == nil:
		return "Job " + made.GetName() + " is Complete", nil
	case errors.As(err, &no):
		pods, _ := c.podsOf(ctx, made)
		return "", &failed{no.why + "; " + pods}
	case ctx.Err() != nil:
		pods, started := c.podsOf(ctx, made)
		if !started {
			err = &notStarted{err}
		}
		return pods, err
	}
	return "", err
}

// in is the Job for a namespace. A Job of the same name that was restored lacks the label,
// and is not taken for it.
func (j *Job) in(namespace, drill string) *object {
	wanted := j.manifest.DeepCopy()
	wanted.SetNamespace(namespace)
	labels := map[string]string{}
	maps.Copy(labels, wanted.GetLabels())
	labels[labelDrill] = drill
	wanted.SetLabels(labels)
	return wanted
}

// podsOf tells how a pod of a Job is, and how many more there are, or why it has none;
// and whether any has started.
func (c *Cluster) podsOf(ctx context.Context, job *object) (how string, started bool) {
	ctx = context.WithoutCancel(ctx)
	var list struct{ Items []workload }
	if err := c.get(ctx, pathOf("v1", job.GetNamespace(), "pods", ""), nil, &list); err != nil {
		return "its pods could not be read: " + clean(err.Error()), false
	}
	var all []string
	for i := range list.Items {
		if list.Items[i].ownedBy(job.GetUID()) {
			all = append(all, list.Items[i].state())
			started = started || list.Items[i].Status.Phase != "Pending"
		}
	}
	if len(all) == 0 {
		return c.withEvents(ctx, errors.New("Job "+job.GetName()+" has not started any pod"), job.GetNamespace(), "Job").Error(), false
	}
	return check.Few(all, ", ", 1), started
}

// ended tells whether a Job is over; where it has failed it is a failed.
func ended(job *object) (bool, string, error) {
	conditions, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	var seen []string
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["status"] != "True" {
			continue
		}
		switch condition["type"] {
		case "Complete":
			return true, "", nil
		case "Failed":
			return true, "", &failed{clean(fmt.Sprintf("Job %s has failed: %v: %v", job.GetName(), condition["reason"], condition["message"]))}
		}
		seen = append(seen, fmt.Sprint(condition["type"]))
	}
	return false, strings.Join(seen, ", "), nil
}
