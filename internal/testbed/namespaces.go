package testbed

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const namespaceTimeout = 2 * time.Minute

// CreateNamespace makes a namespace and does nothing if it is there.
func (c *Cluster) CreateNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := c.Kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}

// DeleteNamespace deletes a namespace and waits until it is gone.
func (c *Cluster) DeleteNamespace(ctx context.Context, name string) error {
	if err := c.DeleteNamespaceLater(ctx, name); err != nil {
		return err
	}
	return Poll(ctx, namespaceTimeout, "namespace "+name+" to be gone", func(ctx context.Context) (bool, string, error) {
		namespace, err := c.Kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return true, "", nil
		case err != nil:
			return false, "", err
		}
		return false, fmt.Sprintf("%s, %v", namespace.Status.Phase, namespace.Status.Conditions), nil
	})
}

// DeleteNamespaceLater asks for a namespace to be deleted, which takes the namespace
// controller five seconds more. Its claims and snapshots go first, and are gone: at
// what has a finalizer the namespace controller looks again only after eight seconds.
func (c *Cluster) DeleteNamespaceLater(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, namespaceTimeout)
	defer cancel()
	err := c.emptyNamespace(ctx, name)
	if err == nil {
		err = c.Kube.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete namespace %s: %w", name, err)
	}
	return nil
}

func (c *Cluster) emptyNamespace(ctx context.Context, name string) error {
	claims, snapshots := c.Kube.CoreV1().PersistentVolumeClaims(name), c.Snapshots.VolumeSnapshots(name)
	err := errors.Join(
		claims.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
		snapshots.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
	)
	if err != nil {
		return err
	}
	what := "claims and snapshots in namespace " + name + " to be gone"
	return Poll(ctx, namespaceTimeout, what, func(ctx context.Context) (bool, string, error) {
		c, err := claims.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		s, err := snapshots.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		return len(c.Items)+len(s.Items) == 0, fmt.Sprintf("%d claims, %d snapshots", len(c.Items), len(s.Items)), nil
	})
}
