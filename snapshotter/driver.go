package snapshotter

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// requireDriver fails if the cluster does not have the driver: no sidecar would
// ever act then. A driver need not have a CSIDriver object, but is on a node.
func (s *Snapshotter) requireDriver(ctx context.Context, driver string) error {
	known, err := s.kube.CSIDrivers.Find(ctx, driver)
	if err != nil || known != nil {
		return err
	}
	installed, err := s.Drivers(ctx)
	switch {
	case err != nil || installed[driver] > 0:
		return err
	case len(installed) == 0:
		return fmt.Errorf("CSI driver %s is not installed in this cluster, nor is any other", driver)
	}
	return fmt.Errorf("CSI driver %s is not installed in this cluster; it has %s; if one of these serves the same storage, the setting driver.%s names it", driver, strings.Join(slices.Sorted(maps.Keys(installed)), ", "), driver)
}

// Drivers counts the nodes that have each CSI driver.
func (s *Snapshotter) Drivers(ctx context.Context) (map[string]int, error) {
	nodes, err := s.kube.CSINodes.List(ctx, "")
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, node := range nodes {
		for _, driver := range node.Spec.Drivers {
			count[driver.Name]++
		}
	}
	return count, nil
}
