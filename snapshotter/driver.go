package snapshotter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
)

// requireDriver fails if the cluster does not have the driver: no sidecar would
// ever act then. A driver need not have a CSIDriver object, but is on a node.
func (s *Snapshotter) requireDriver(ctx context.Context, driver string) error {
	known, err := s.kube.CSIDrivers().Find(ctx, driver)
	if err != nil || known != nil {
		return err
	}
	nodes, err := s.kube.CSINodes().List(ctx, "")
	if err != nil {
		return err
	}
	installed := driversOn(nodes)
	if slices.Contains(installed, driver) {
		return nil
	}
	if len(installed) == 0 {
		return fmt.Errorf("CSI driver %s is not installed in this cluster, nor is any other", driver)
	}
	return fmt.Errorf("CSI driver %s is not installed in this cluster; it has %s; if one of these serves the same storage, the setting driver.%s names it", driver, strings.Join(installed, ", "), driver)
}

func driversOn(nodes []*storagev1.CSINode) []string {
	var drivers []string
	for _, node := range nodes {
		for _, driver := range node.Spec.Drivers {
			drivers = append(drivers, driver.Name)
		}
	}
	slices.Sort(drivers)
	return slices.Compact(drivers)
}
