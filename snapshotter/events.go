package snapshotter

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// warningInterval is how often the events of an object are asked for. They say
// why a controller does not get on, which the object itself may not; they are
// never needed for a success, so the first question waits that long too.
const warningInterval = 5 * time.Second

// watchWarnings calls tell on a goroutine of its own, every few seconds, with the
// last warning about an object, until ctx ends.
func (s *Snapshotter) watchWarnings(ctx context.Context, object metav1.Object, tell func(message string)) {
	go contained(s.log, "the look at warnings", func() {
		for tick := time.Tick(warningInterval); ; {
			select {
			case <-tick:
				tell(s.lastWarning(ctx, object))
			case <-ctx.Done():
				return
			}
		}
	})()
}

// reasonAsked is that of the event by which csi-provisioner says that it asks the driver
// for a volume, each time.
const reasonAsked = "Provisioning"

// lastWarning returns the newest warning about an object, "" if there is none, if the
// driver was asked again since, or if it cannot be had: events are a help to the reader,
// no more. Staging objects share one name, so the UID tells them apart. Those of an object
// without a namespace stand in the namespace default.
func (s *Snapshotter) lastWarning(ctx context.Context, object metav1.Object) string {
	namespace := cmp.Or(object.GetNamespace(), metav1.NamespaceDefault)
	raw, err := s.kube.Raw(ctx, fmt.Sprintf("/api/v1/namespaces/%s/events", namespace),
		map[string]string{"fieldSelector": "involvedObject.uid=" + string(object.GetUID())}, nil)
	var events corev1.EventList
	if err != nil || json.Unmarshal(raw, &events) != nil {
		return ""
	}
	var last corev1.Event
	for _, event := range events.Items {
		warning, later := event.Type == corev1.EventTypeWarning, event.LastTimestamp.Compare(last.LastTimestamp.Time)
		if warning && later >= 0 || event.Reason == reasonAsked && later > 0 {
			last = event
		}
	}
	if last.Type != corev1.EventTypeWarning {
		return ""
	}
	return last.Message
}
