package snapshotter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

const (
	// veleroClass is the annotation by which a claim chooses its class, and the
	// label by which a class offers itself, as in Velero's own CSI support.
	veleroClass  = "velero.io/csi-volumesnapshot-class"
	defaultClass = "snapshot.storage.kubernetes.io/is-default-class"
)

// wish is what has a say in the choice of a class.
type wish struct {
	driver     string
	annotation string            // the claim's
	perDriver  map[string]string // snapshotClass.<driver>
	general    string            // snapshotClass
}

// chooseClass chooses a volume's VolumeSnapshotClass. The first that says
// something decides: the claim's annotation, the location's class for the
// driver, the location's class if it is one of the driver, the class with
// Velero's label, the default class, the driver's only class.
func chooseClass(w wish, classes []snapshotv1.VolumeSnapshotClass) (*snapshotv1.VolumeSnapshotClass, error) {
	if w.annotation != "" {
		return named(w, classes, w.annotation, "the claim's annotation "+veleroClass)
	}
	if name := w.perDriver[w.driver]; name != "" {
		return named(w, classes, name, "the setting snapshotClass."+w.driver)
	}
	if w.general != "" {
		general := classOf(classes, w.general)
		if general == nil {
			return named(w, classes, w.general, "the setting snapshotClass")
		}
		if general.Driver == w.driver {
			return general, nil
		}
	}
	return offered(w, classes)
}

// named returns the class that somebody named, which has to fit.
func named(w wish, classes []snapshotv1.VolumeSnapshotClass, name, by string) (*snapshotv1.VolumeSnapshotClass, error) {
	class := classOf(classes, name)
	if class == nil {
		return nil, fmt.Errorf("no VolumeSnapshotClass %q, which %s names; %s", name, by, candidates(w.driver, classes))
	}
	if class.Driver != w.driver {
		return nil, fmt.Errorf("VolumeSnapshotClass %q, which %s names, is for driver %s, not %s; %s", name, by, class.Driver, w.driver, candidates(w.driver, classes))
	}
	return class, nil
}

// offered chooses among the driver's classes by what the classes say.
func offered(w wish, classes []snapshotv1.VolumeSnapshotClass) (*snapshotv1.VolumeSnapshotClass, error) {
	own := ofDriver(w.driver, classes)
	for _, mark := range []struct {
		name string
		has  func(snapshotv1.VolumeSnapshotClass) bool
	}{
		{"the label " + veleroClass, func(c snapshotv1.VolumeSnapshotClass) bool { _, has := c.Labels[veleroClass]; return has }},
		{"the annotation " + defaultClass, func(c snapshotv1.VolumeSnapshotClass) bool { return c.Annotations[defaultClass] == "true" }},
		{"driver " + w.driver, func(snapshotv1.VolumeSnapshotClass) bool { return true }},
	} {
		marked := slices.DeleteFunc(slices.Clone(own), func(c snapshotv1.VolumeSnapshotClass) bool { return !mark.has(c) })
		if len(marked) == 1 {
			return &marked[0], nil
		}
		if len(marked) > 1 {
			return nil, fmt.Errorf("several VolumeSnapshotClasses have %s: %s; name one by the setting snapshotClass.%s or the claim's annotation %s",
				mark.name, names(marked), w.driver, veleroClass)
		}
	}
	return nil, fmt.Errorf("no VolumeSnapshotClass for driver %s; %s", w.driver, candidates(w.driver, classes))
}

func classOf(classes []snapshotv1.VolumeSnapshotClass, name string) *snapshotv1.VolumeSnapshotClass {
	i := slices.IndexFunc(classes, func(c snapshotv1.VolumeSnapshotClass) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &classes[i]
}

func ofDriver(driver string, classes []snapshotv1.VolumeSnapshotClass) []snapshotv1.VolumeSnapshotClass {
	return slices.DeleteFunc(slices.Clone(classes), func(c snapshotv1.VolumeSnapshotClass) bool { return c.Driver != driver })
}

// candidates says which classes there are.
func candidates(driver string, classes []snapshotv1.VolumeSnapshotClass) string {
	if own := ofDriver(driver, classes); len(own) > 0 {
		return fmt.Sprintf("the classes of driver %s are %s", driver, names(own))
	}
	if len(classes) == 0 {
		return "the cluster has no VolumeSnapshotClass at all: create one"
	}
	return fmt.Sprintf("the cluster has no class for driver %s, only %s: create one", driver, names(classes))
}

func names(classes []snapshotv1.VolumeSnapshotClass) string {
	var all []string
	for _, c := range classes {
		all = append(all, fmt.Sprintf("%s (%s)", c.Name, c.Driver))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// listClasses lists the cluster's VolumeSnapshotClasses. It is the first call to
// the snapshot API, and tells where that is not installed.
func (s *Snapshotter) listClasses(ctx context.Context) ([]snapshotv1.VolumeSnapshotClass, error) {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*snapshotv1.VolumeSnapshotClassList, error) {
		return s.kube.VolumeSnapshotClasses().List(ctx, metav1.ListOptions{})
	})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the cluster has no CSI snapshot API (snapshot.storage.k8s.io/v1): install the CRDs and the controller of kubernetes-csi/external-snapshotter: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotClasses: %w", err)
	}
	return list.Items, nil
}

func (s *Snapshotter) classFor(ctx context.Context, driver string, v source) (*snapshotv1.VolumeSnapshotClass, error) {
	classes, err := s.listClasses(ctx)
	if err != nil {
		return nil, err
	}
	return chooseClass(wish{
		driver:     driver,
		annotation: v.claim.Annotations[veleroClass],
		perDriver:  s.settings.SnapshotClasses,
		general:    s.settings.SnapshotClass,
	}, classes)
}
