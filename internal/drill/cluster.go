package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// object is one of a kind that has no type here.
type object = unstructured.Unstructured

// Cluster is the one that Velero is in, with the kinds that a drill changes.
type Cluster struct {
	*check.Cluster
	namespaces, leases, restores, backups, jobs, events kube.Unstructured
}

// NewCluster makes the clients. It asks nothing yet.
func NewCluster(c *check.Cluster) (*Cluster, error) {
	all := &Cluster{Cluster: c}
	var errs []error
	for _, kind := range []struct {
		client              *kube.Unstructured
		group, name, plural string
	}{
		{&all.namespaces, "", "Namespace", "namespaces"},
		{&all.events, "", "Event", "events"},
		{&all.leases, "coordination.k8s.io", "Lease", "leases"},
		{&all.restores, "velero.io", "Restore", "restores"},
		{&all.backups, "velero.io", "Backup", "backups"},
		{&all.jobs, "batch", "Job", "jobs"},
	} {
		var err error
		*kind.client, err = c.Kube.Unstructured(kind.group, kind.name, kind.plural)
		errs = append(errs, err)
	}
	all.leases, all.restores, all.backups = all.leases.In(c.Namespace), all.restores.In(c.Namespace), all.backups.In(c.Namespace)
	return all, errors.Join(errs...)
}

// requestTimeout bounds one look into the cluster.
const requestTimeout = 20 * time.Second

// get reads what stands at a path of the API.
func (c *Cluster) get(ctx context.Context, path string, parameters map[string]string, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errors.New("no answer from the Kubernetes API"))
	defer cancel()
	raw, err := c.Kube.Raw(ctx, path, parameters, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// pathOf is where the API has the objects of a kind, or the one of a name.
func pathOf(apiVersion, namespace, plural, name string) string {
	root := "/apis/"
	if !strings.Contains(apiVersion, "/") {
		root = "/api/"
	}
	path := root + apiVersion + "/namespaces/" + url.PathEscape(namespace) + "/" + url.PathEscape(plural)
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	return path
}

// poll asks until the answer is yes. The error of a wait that ctx ends tells the
// last answer.
func poll(ctx context.Context, what string, ask func(context.Context) (done bool, last string, err error)) error {
	last := "nothing yet"
	for {
		done, answer, err := ask(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case done && err == nil:
			return nil
		case err == nil:
			last = answer
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting for %s: %w; last seen: %s", what, context.Cause(ctx), last)
		case <-time.After(pollInterval):
		}
	}
}

const pollInterval = 500 * time.Millisecond
