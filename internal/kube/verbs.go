package kube

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// verbs sends single requests for one kind of object, in one namespace or in none.
//
// It stands here because client-go's own generic client links its fake, and
// with that a tenth of the program.
type verbs struct {
	client    rest.Interface
	plural    string // as in the API's paths
	namespace string
}

func (v verbs) request(verb *rest.Request, options runtime.Object) *rest.Request {
	request := verb.NamespaceIfScoped(v.namespace, v.namespace != "").Resource(v.plural)
	if options != nil {
		_, parameters := codecs()
		request = request.VersionedParams(options, parameters)
	}
	return request
}

// List returns the objects that options select.
func (v verbs) List(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	return v.request(v.client.Get(), &options).Do(ctx).Get()
}

// Watch watches the objects that options select.
func (v verbs) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	var timeout time.Duration
	if options.TimeoutSeconds != nil {
		timeout = time.Duration(*options.TimeoutSeconds) * time.Second
	}
	return v.request(v.client.Get(), &options).Timeout(timeout).Watch(ctx)
}

func (v verbs) delete(ctx context.Context, name string, only metav1.Preconditions) error {
	return v.request(v.client.Delete(), nil).Name(name).Body(&metav1.DeleteOptions{Preconditions: &only}).Do(ctx).Error()
}
