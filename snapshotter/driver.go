package snapshotter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// requireDriver fails if the cluster does not have the driver: no sidecar would
// ever act then. A driver need not have a CSIDriver object, but is on a node.
func (s *Snapshotter) requireDriver(ctx context.Context, driver string) error {
	_, err := kube.Retry(ctx, func(ctx context.Context) (*storagev1.CSIDriver, error) {
		return s.kube.CSIDrivers().Get(ctx, driver, metav1.GetOptions{})
	})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("look for CSI driver %s: %w", driver, err)
	}
	nodes, err := s.csiNodes(ctx)
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
	return fmt.Errorf("CSI driver %s is not installed in this cluster; it has %s", driver, strings.Join(installed, ", "))
}

func (s *Snapshotter) csiNodes(ctx context.Context) ([]storagev1.CSINode, error) {
	list, err := kube.Retry(ctx, func(ctx context.Context) (*storagev1.CSINodeList, error) {
		return s.kube.CSINodes().List(ctx, metav1.ListOptions{})
	})
	if err != nil {
		return nil, fmt.Errorf("list CSINodes: %w", err)
	}
	return list.Items, nil
}

func driversOn(nodes []storagev1.CSINode) []string {
	var drivers []string
	for i := range nodes {
		for _, driver := range nodes[i].Spec.Drivers {
			drivers = append(drivers, driver.Name)
		}
	}
	slices.Sort(drivers)
	return slices.Compact(drivers)
}
