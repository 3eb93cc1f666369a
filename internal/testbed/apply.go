package testbed

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Apply creates or changes the objects of a YAML text, which may hold several
// documents.
func (c *Cluster) Apply(ctx context.Context, text string) error {
	client, err := discovery.NewDiscoveryClientForConfig(c.Config)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("apply: read YAML: %w", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if err := c.applyObject(ctx, mapper, object); err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

func (c *Cluster) applyObject(ctx context.Context, mapper *restmapper.DeferredDiscoveryRESTMapper, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	var resource dynamic.ResourceInterface = c.Dynamic.Resource(mapping.Resource)
	if namespace := object.GetNamespace(); namespace != "" {
		resource = c.Dynamic.Resource(mapping.Resource).Namespace(namespace)
	}
	_, err = resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: "longshore-testbed", Force: true})
	return err
}

// applyBase makes the objects that every cluster has.
func (c *Cluster) applyBase(ctx context.Context) error {
	definitions, err := SnapshotCRDs.Path(ctx)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(definitions, "*.yaml"))
	if err != nil {
		return err
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := c.Apply(ctx, string(text)); err != nil {
			return err
		}
		group, plural, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".yaml"), "_")
		names = append(names, plural+"."+group)
	}
	if err := c.waitEstablished(ctx, names...); err != nil {
		return err
	}
	if err := c.Apply(ctx, c.baseObjects()); err != nil {
		return err
	}
	err = c.Apply(ctx, fmt.Sprintf(attributesClasses, DriverName, AttributesGold, AttributesSilver))
	if meta.IsNoMatchError(err) {
		return nil
	}
	return err
}

// waitEstablished waits until the API server serves the defined kinds.
func (c *Cluster) waitEstablished(ctx context.Context, names ...string) error {
	definitions := c.Dynamic.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	})
	for _, name := range names {
		err := Poll(ctx, 30*time.Second, "definition "+name+" to be established", func(ctx context.Context) (bool, string, error) {
			object, err := definitions.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, "", err
			}
			return hasCondition(object, "Established"), "not established", nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func hasCondition(object *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		if fields, ok := condition.(map[string]any); ok && fields["type"] == kind && fields["status"] == "True" {
			return true
		}
	}
	return false
}

// Poll asks until the answer is yes. The error of the deadline tells what was
// waited for and the last answer or error, since a failed question may do better
// the next time.
func Poll(ctx context.Context, timeout time.Duration, what string, ask func(context.Context) (done bool, last string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last := "nothing"
	for {
		done, answer, err := ask(ctx)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			last = answer
		case ctx.Err() == nil:
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w after %s; last seen: %s", what, ctx.Err(), timeout, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
