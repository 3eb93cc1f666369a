package kube

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Resource is the client for one kind of object T with the list L, in one
// namespace or in none. Its methods are those of client-go's typed clients.
//
// It stands here because client-go's own generic client links its fake, and
// with that a tenth of the program.
type Resource[T, L any] struct {
	client    rest.Interface
	name      string // plural, as in the API's paths
	namespace string
}

func object[O any](o *O) runtime.Object { return any(o).(runtime.Object) }

func (r Resource[T, L]) request(verb *rest.Request) *rest.Request {
	return verb.NamespaceIfScoped(r.namespace, r.namespace != "").Resource(r.name)
}

// Get returns the object with that name.
func (r Resource[T, L]) Get(ctx context.Context, name string, options metav1.GetOptions) (*T, error) {
	result := new(T)
	err := r.request(r.client.Get()).Name(name).VersionedParams(&options, known().parameters).Do(ctx).Into(object(result))
	return result, err
}

// List returns the objects that options select.
func (r Resource[T, L]) List(ctx context.Context, options metav1.ListOptions) (*L, error) {
	result := new(L)
	err := r.request(r.client.Get()).VersionedParams(&options, known().parameters).Do(ctx).Into(object(result))
	return result, err
}

// Watch watches the objects that options select.
func (r Resource[T, L]) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	var timeout time.Duration
	if options.TimeoutSeconds != nil {
		timeout = time.Duration(*options.TimeoutSeconds) * time.Second
	}
	return r.request(r.client.Get()).VersionedParams(&options, known().parameters).Timeout(timeout).Watch(ctx)
}

// Create creates the object and returns it as it is then.
func (r Resource[T, L]) Create(ctx context.Context, made *T, options metav1.CreateOptions) (*T, error) {
	result := new(T)
	err := r.request(r.client.Post()).VersionedParams(&options, known().parameters).Body(object(made)).Do(ctx).Into(object(result))
	return result, err
}

// Patch changes the object with that name and returns it as it is then.
func (r Resource[T, L]) Patch(ctx context.Context, name string, kind types.PatchType, patch []byte, options metav1.PatchOptions, subresources ...string) (*T, error) {
	result := new(T)
	err := r.request(r.client.Patch(kind)).Name(name).SubResource(subresources...).VersionedParams(&options, known().parameters).Body(patch).Do(ctx).Into(object(result))
	return result, err
}

// Delete deletes the object with that name.
func (r Resource[T, L]) Delete(ctx context.Context, name string, options metav1.DeleteOptions) error {
	return r.request(r.client.Delete()).Name(name).Body(&options).Do(ctx).Error()
}
