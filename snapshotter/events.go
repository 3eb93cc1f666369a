package snapshotter

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// eventInterval is how often the events of a claim are asked for. They say why a
// volume is not made, which the claim itself does not; they are never needed for
// a success, so the first question waits that long too.
const eventInterval = 5 * time.Second

// listener knows what was last seen to go wrong.
type listener struct {
	mu      sync.Mutex
	message string
	end     context.CancelFunc
	done    chan struct{}
}

// listen looks now and then for what goes wrong, and hands it to p.
func listen(ctx context.Context, p *patience, look func(context.Context) string) *listener {
	ctx, end := context.WithCancel(ctx)
	l := &listener{end: end, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		ticker := time.NewTicker(eventInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if message := look(ctx); message != "" {
					l.note(message)
					p.failing(message)
					if saysMissing(message) {
						p.hurry(missingGrace)
					}
				}
			}
		}
	}()
	return l
}

func (l *listener) note(message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.message = message
}

func (l *listener) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.message
}

func (l *listener) stop() {
	l.end()
	<-l.done
}

// warningDelay is how far a warning may come behind what it is about.
const warningDelay = 2 * time.Second

// awaitWarning returns the newest warning about an object of which something is
// known to be wrong.
func (s *Snapshotter) awaitWarning(ctx context.Context, object metav1.Object) string {
	ctx, cancel := context.WithTimeout(ctx, warningDelay)
	defer cancel()
	message := ""
	ask(ctx, warningDelay/10, func() bool {
		message = s.lastWarning(ctx, object)
		return message != ""
	})
	return cmp.Or(message, "no event says why")
}

// ask asks at once and then at each interval, until the answer is yes or ctx ends.
func ask(ctx context.Context, interval time.Duration, question func() bool) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for !question() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// lastWarning returns the newest warning about an object, "" if there is none or
// it cannot be had: events are a help to the reader, no more.
func (s *Snapshotter) lastWarning(ctx context.Context, object metav1.Object) string {
	var newest *corev1.Event
	events := s.eventsOf(ctx, object.GetNamespace(), object.GetUID(), ",type=Warning")
	for i := range events {
		if newest == nil || newest.LastTimestamp.Before(&events[i].LastTimestamp) {
			newest = &events[i]
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Message
}

// eventsOf returns the events about an object, and none if they cannot be had.
// The staging objects share one name, so it is the UID that tells them apart. more
// is what else the events must be, as in a field selector.
func (s *Snapshotter) eventsOf(ctx context.Context, namespace string, uid types.UID, more string) []corev1.Event {
	raw, err := s.kube.Raw(ctx, fmt.Sprintf("/api/v1/namespaces/%s/events", namespace),
		map[string]string{"fieldSelector": "involvedObject.uid=" + string(uid) + more})
	var events corev1.EventList
	if err != nil || json.Unmarshal(raw, &events) != nil {
		return nil
	}
	return events.Items
}

// isProvisioning tells from the events of a claim whether csi-provisioner has begun
// with it more often than it has ended.
func isProvisioning(events []corev1.Event) bool {
	var open int32
	for _, event := range events {
		switch event.Reason {
		case "Provisioning":
			open += max(event.Count, 1)
		case "ProvisioningSucceeded", "ProvisioningFailed":
			open -= max(event.Count, 1)
		}
	}
	return open > 0
}
