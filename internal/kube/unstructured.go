package kube

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	serializerjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/rest"
)

// Unstructured is the client for a kind without a type here.
type Unstructured = Resource[*unstructured.Unstructured]

// Unstructured returns the client for a kind that is changed here but not worth a
// type. The version of its API is v1; group is "" for the core.
func (c *Client) Unstructured(group, kind, plural string) (r Unstructured, err error) {
	config := rest.CopyConfig(c.config)
	config.APIPath = "/api"
	if group != "" {
		config.APIPath = "/apis/" + group
	}
	config.GroupVersion = &schema.GroupVersion{Version: "v1"} // of the parameters of requests, too
	config.NegotiatedSerializer = untyped()
	client, err := rest.RESTClientForConfigAndClient(config, c.transport)
	if err != nil {
		return r, fmt.Errorf("make the client for %s: %w", kind, err)
	}
	set(&r, c, client, kind, plural)
	return r, nil
}

// untypedJSON has types for the two things that the rest client looks into: the
// events of a watch, and the status that is an error.
type untypedJSON struct{ runtime.Serializer }

func (s untypedJSON) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if event, is := into.(*metav1.WatchEvent); is {
		return event, &schema.GroupVersionKind{}, json.Unmarshal(data, event)
	}
	object, kind, err := s.Serializer.Decode(data, defaults, into)
	if err == nil && into == nil && kind.Kind == "Status" {
		status := &metav1.Status{}
		return status, kind, json.Unmarshal(data, status)
	}
	return object, kind, err
}

func untyped() runtime.NegotiatedSerializer {
	s := untypedJSON{unstructured.UnstructuredJSONScheme}
	return runtime.NewSimpleNegotiatedSerializer(runtime.SerializerInfo{
		MediaType: "application/json", MediaTypeType: "application", MediaTypeSubType: "json", EncodesAsText: true, Serializer: s,
		StreamSerializer: &runtime.StreamSerializerInfo{EncodesAsText: true, Serializer: s, Framer: serializerjson.Framer},
	})
}
