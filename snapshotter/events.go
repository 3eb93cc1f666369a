package snapshotter

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// warningInterval is how often the events of an object are asked for. They say
// why a controller does not get on, which the object itself may not; they are
// never needed for a success, so the first question waits that long too.
const warningInterval = 5 * time.Second

// watchWarnings calls tell now and then with the newest warning about an object,
// until ctx ends.
func (s *Snapshotter) watchWarnings(ctx context.Context, object metav1.Object, tell func(message string)) {
	begun := false
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if begun {
			tell(s.lastWarning(ctx, object))
		}
		begun = true
	}, warningInterval)
}

// lastWarning returns the newest warning about an object, "" if there is none or
// it cannot be had: events are a help to the reader, no more. Staging objects
// share one name, so the UID tells them apart. Those of an object without a
// namespace stand in the namespace default.
func (s *Snapshotter) lastWarning(ctx context.Context, object metav1.Object) string {
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	raw, err := s.kube.Raw(ctx, fmt.Sprintf("/api/v1/namespaces/%s/events", namespace),
		map[string]string{"fieldSelector": "type=Warning,involvedObject.uid=" + string(object.GetUID())})
	var events corev1.EventList
	if err != nil || json.Unmarshal(raw, &events) != nil {
		return ""
	}
	var newest corev1.Event
	for _, event := range events.Items {
		if newest.LastTimestamp.Before(&event.LastTimestamp) || newest.Message == "" {
			newest = event
		}
	}
	return newest.Message
}
