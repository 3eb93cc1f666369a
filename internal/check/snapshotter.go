package check

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// Full is the part of a check that makes a volume.
type Full struct {
	Wanted       bool
	StorageClass string // of the volume; the cluster's default class if empty
	Size         string
}

// volumeSnapshotter checks a volume snapshot location.
type volumeSnapshotter struct {
	Run
	*Cluster
	*Location
	log logrus.FieldLogger
	s   *snapshotter.Snapshotter

	lacking []string // rights of Velero
	drivers []string // that the location takes
	classes []storagev1.StorageClass
	proof   Full
}

// Snapshotter checks that Velero can take snapshots by a location. Unless full
// is wanted it only looks.
func Snapshotter(ctx context.Context, c *Cluster, l *Location, full Full, log logrus.FieldLogger, observer Observer) []Result {
	v := &volumeSnapshotter{Run: Run{observer: observer}, Cluster: c, Location: l, log: log, proof: full}
	if v.Step(ctx, "settings", v.settings) && v.Step(ctx, "Kubernetes", v.kubernetes) && v.Step(ctx, "snapshot API", v.snapshotAPI) {
		v.look(ctx)
	}
	return v.Results
}

func (v *volumeSnapshotter) look(ctx context.Context) {
	v.Step(ctx, "Velero", v.velero)
	v.Step(ctx, "locations", v.locations)
	v.Step(ctx, "permissions", v.permissions)
	if !v.Step(ctx, "CSI drivers", v.csiDrivers) {
		return
	}
	v.Step(ctx, "readiness", v.readiness)
	v.Step(ctx, "groups", v.groups)
	v.controllers(ctx)
	if v.Step(ctx, "storage classes", v.storageClasses) {
		v.snapshotClasses(ctx)
	}
	if v.proof.Wanted {
		v.full(ctx)
	}
}

func (v *volumeSnapshotter) settings(context.Context) (string, error) {
	var err error
	v.s, err = snapshotter.OpenOn(v.Kube, v.Namespace, v.log, v.Settings())
	if err != nil {
		return "", Fail(err.Error(), correctConfig)
	}
	if v.Provider != defaults.Provider {
		return "", Warn(fmt.Sprintf("spec.provider is %q: Velero does not use this plugin for the location", v.Provider), "set spec.provider: "+defaults.Provider)
	}
	return v.outline(), nil
}

func (v *volumeSnapshotter) kubernetes(ctx context.Context) (string, error) {
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := v.get(ctx, "/version", &version); err != nil {
		return "", Fail(err.Error(), "check --kubeconfig and --context, and that the cluster can be reached from here")
	}
	return version.GitVersion + " at " + v.Cluster.Config.Host, nil
}

const (
	snapshotAPI = "/apis/snapshot.storage.k8s.io/v1"
	installHint = "install the CRDs and the snapshot-controller of kubernetes-csi/external-snapshotter, or the add-on of your provider that has them"
)

func (v *volumeSnapshotter) snapshotAPI(ctx context.Context) (string, error) {
	var served metav1.APIResourceList
	err := v.get(ctx, snapshotAPI, &served)
	if apierrors.IsNotFound(err) {
		return "", Fail("the cluster does not know snapshot.storage.k8s.io/v1", installHint)
	}
	if err != nil {
		return "", err
	}
	for _, name := range []string{"volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"} {
		if !slices.ContainsFunc(served.APIResources, func(r metav1.APIResource) bool { return r.Name == name }) {
			return "", Fail("the cluster does not know "+name+".snapshot.storage.k8s.io", installHint)
		}
	}
	return "snapshot.storage.k8s.io/v1", nil
}

func (v *volumeSnapshotter) csiDrivers(ctx context.Context) (string, error) {
	nodes, err := v.s.Drivers(ctx)
	if err != nil {
		return "", err
	}
	wanted := v.s.Settings().Drivers
	if len(nodes) == 0 {
		return "", Fail("no node has a CSI driver", "install the CSI driver of your storage")
	}
	installed := slices.Sorted(maps.Keys(nodes))
	for _, driver := range wanted {
		if nodes[driver] == 0 {
			return "", Fail(fmt.Sprintf("the setting drivers names %s, which is on no node; there are %s", driver, strings.Join(installed, ", ")),
				"correct drivers in spec.config, or install the driver")
		}
	}
	v.drivers = installed
	if len(wanted) > 0 {
		v.drivers = wanted
	}
	var all []string
	for _, driver := range v.drivers {
		all = append(all, fmt.Sprintf("%s (on %s)", driver, Count(nodes[driver], "node")))
	}
	return strings.Join(all, ", "), nil
}

// notOurs selects the StorageClasses that the plugin did not make for itself.
const notOurs = "app.kubernetes.io/managed-by!=longshore"

func (v *volumeSnapshotter) storageClasses(ctx context.Context) (string, error) {
	list, err := v.Kube.StorageClasses.List(ctx, notOurs)
	if err != nil {
		return "", err
	}
	var others []string
	for _, class := range list {
		if slices.Contains(v.drivers, class.Provisioner) {
			v.classes = append(v.classes, *class)
		} else {
			others = append(others, class.Name)
		}
	}
	slices.SortFunc(v.classes, func(a, b storagev1.StorageClass) int { return cmp.Compare(a.Name, b.Name) })
	detail := fmt.Sprintf("%d of these drivers", len(v.classes))
	if len(others) > 0 {
		detail += "; volumes of " + few(others) + " are not taken by this location"
	}
	if len(v.classes) == 0 {
		return "", Warn(detail, "only volumes of a StorageClass of a CSI driver can be restored")
	}
	return detail, nil
}

// snapshotClasses tells for each storage class which snapshot class its volumes
// get.
func (v *volumeSnapshotter) snapshotClasses(ctx context.Context) {
	for _, storage := range v.classes {
		v.Step(ctx, "class "+storage.Name, func(ctx context.Context) (string, error) {
			class, err := v.s.ClassOf(ctx, storage.Provisioner)
			if err != nil {
				return "", Fail(err.Error(), "create a VolumeSnapshotClass for "+storage.Provisioner+", or name one: snapshotClass."+storage.Provisioner+" in spec.config")
			}
			return "snapshots by VolumeSnapshotClass " + class.Name, nil
		})
	}
}
