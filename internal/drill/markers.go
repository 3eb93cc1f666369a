package drill

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/longshore-dev/velero-plugin/internal/check"
)

// Marker is an object by which one sees what was restored.
type Marker struct {
	Namespace string // of the backup; "" for the only one that is drilled
	Resource  string // such as configmaps or deployments.apps
	Name      string
}

// ParseMarker reads RESOURCE/NAME or NAMESPACE/RESOURCE/NAME.
func ParseMarker(text string) (Marker, error) {
	words := strings.Split(text, "/")
	if slices.Contains(words, "") || len(words) < 2 || len(words) > 3 {
		return Marker{}, fmt.Errorf("%q is not of the form [NAMESPACE/]RESOURCE/NAME, such as configmaps/settings or shop/deployments.apps/web", text)
	}
	if len(words) == 2 {
		words = append([]string{""}, words...)
	}
	return Marker{words[0], words[1], words[2]}, nil
}

func (m Marker) String() string { return clean(m.Namespace + "/" + m.Resource + "/" + m.Name) }

// preferred are the kinds of which a marker is chosen, the best first: what a restore
// always brings back, and nothing else makes.
var preferred = []string{"persistentvolumeclaims", "configmaps", "services", "deployments.apps", "statefulsets.apps", "daemonsets.apps"}

// everywhere are objects that a controller makes in each namespace: of Kubernetes,
// OpenShift and Istio.
var everywhere = []string{"kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"}

// better is the better of two markers.
func better(now, other Marker) Marker {
	rank := slices.Index(preferred, other.Resource)
	if rank < 0 || slices.Contains(everywhere, other.Name) {
		return now
	}
	if at := slices.Index(preferred, now.Resource); at >= 0 && at <= rank {
		return now
	}
	return other
}

// choose returns the markers that must be there and those that must not: the user's,
// one of each namespace of which they name none, and one that nobody has made.
func (d *drill) choose() (there, missing []Marker, err error) {
	there, missing = slices.Clone(d.o.Expect), slices.Clone(d.o.ExpectNot)
	for _, list := range [][]Marker{there, missing} {
		for i := range list {
			if list[i], err = d.place(list[i]); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, name := range d.plan.names() {
		named := slices.ContainsFunc(there, func(m Marker) bool { return m.Namespace == name })
		if marker := d.plan.namespaces[name].marker; marker.Name != "" && !named {
			there = append(there, marker)
		}
		missing = append(missing, Marker{name, "configmaps", "longshore-drill-" + strings.ToLower(rand.Text())})
	}
	if len(there) == 0 {
		return nil, nil, check.Fail("no object of the backup can tell whether it was restored: there is none of "+strings.Join(preferred, ", "),
			"name one that must be there by --expect")
	}
	return there, missing, nil
}

// place fills in the namespace of a marker, and wants it to be drilled.
func (d *drill) place(m Marker) (Marker, error) {
	names := d.plan.names()
	if m.Namespace == "" && len(names) == 1 {
		m.Namespace = names[0]
	}
	if m.Namespace == "" {
		return m, check.Fail("in which namespace is "+m.Resource+"/"+m.Name+"?", "say NAMESPACE/"+m.Resource+"/"+m.Name)
	}
	if !slices.Contains(names, m.Namespace) {
		return m, check.Fail("the namespace of "+m.String()+" is not drilled", "name another, or include it by --include-namespaces")
	}
	if _, err := d.version(m); err != nil {
		return m, err
	}
	return m, nil
}

// version is that of the marker's API: the one in the backup.
func (d *drill) version(m Marker) (string, error) {
	if version := d.plan.kinds[m.Resource]; version != "" {
		return version, nil
	}
	if m.Resource == "configmaps" {
		return "v1", nil
	}
	return "", check.Fail("the backup has nothing of the kind "+m.Resource, "name a kind as velero-plugin-longshore download lists it under resources/, such as deployments.apps")
}

// has tells whether a marker is in a namespace.
func (d *drill) has(ctx context.Context, m Marker, namespace string) (bool, error) {
	version, err := d.version(m)
	if err != nil {
		return false, err
	}
	plural, _, _ := strings.Cut(m.Resource, ".")
	err = d.get(ctx, pathOf(version, namespace, plural, m.Name), nil, &struct{}{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// ableToFail asks the control, where nothing was restored. There no marker may be
// found, and the test must fail.
func (d *drill) ableToFail(ctx context.Context) (string, error) {
	there, missing, err := d.choose()
	if err != nil {
		return "", err
	}
	d.there, d.missing = there, missing
	if err := d.onlyRestored(ctx); err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%s missing in an empty namespace", check.Count(len(there), "object"))
	if d.o.Test == nil {
		return detail, nil
	}
	how, err := d.mustFail(ctx)
	if err != nil {
		return "", err
	}
	return detail + "; the test fails there: " + how, nil
}

// onlyRestored wants none of what must be there in the control.
func (d *drill) onlyRestored(ctx context.Context) error {
	for _, m := range d.there {
		found, err := d.has(ctx, m, d.control())
		if err != nil {
			return err
		}
		if found {
			return check.Fail(m.String()+" is in the empty namespace too: it proves nothing", "name one by --expect that only a restore brings")
		}
	}
	return nil
}

// markers looks for what must be there and what must not. The control is asked once more:
// some controllers bring their objects into each namespace a while after it was made.
func (d *drill) markers(ctx context.Context) (string, error) {
	if err := d.onlyRestored(ctx); err != nil {
		return "", err
	}
	var wrong []string
	for _, want := range []struct {
		markers []Marker
		there   bool
		words   string
	}{{d.there, true, "is not there"}, {d.missing, false, "is there"}} {
		for _, m := range want.markers {
			found, err := d.has(ctx, m, d.report.Namespaces[m.Namespace])
			if err != nil {
				return "", err
			}
			if found != want.there {
				wrong = append(wrong, m.String()+" "+want.words)
			}
		}
	}
	if len(wrong) > 0 {
		return "", check.Fail(few(wrong), "what came back is not what the backup should hold: compare with velero-plugin-longshore describe "+d.name)
	}
	return fmt.Sprintf("%d there, %d missing, as they must be", len(d.there), len(d.missing)), nil
}
