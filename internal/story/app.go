package story

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// Namespace is where the application lives.
const Namespace = "shop"

// claims are the application's volumes and their storage classes: one that is
// bound at once, one that waits for the first pod, as most clouds do, and one that
// keeps volumes whose claim is deleted.
var claims = map[string]string{
	"database": testbed.ClassImmediate,
	"orders":   testbed.ClassWaitForFirstConsumer,
	"uploads":  testbed.ClassRetain,
}

// fileSizes are the sizes in bytes of the files in each volume.
var fileSizes = []int{0, 1, 4096, 65_537, 1 << 20, 3_000_001}

// InstallApp makes the application: a namespace with volumes full of random
// files, ConfigMaps and Secrets. It has no workload: a volume is a folder here.
func InstallApp(ctx context.Context, cluster *testbed.Cluster) error {
	if err := cluster.CreateNamespace(ctx, Namespace); err != nil {
		return err
	}
	for name, class := range claims {
		claim := testbed.ClaimOptions{Namespace: Namespace, Name: name, Class: class, Labels: map[string]string{"app": "shop"}}
		if _, err := cluster.CreateClaim(ctx, claim); err != nil {
			return err
		}
		dir, err := cluster.ClaimDir(ctx, Namespace, name)
		if err != nil {
			return err
		}
		if err := writeFiles(dir); err != nil {
			return fmt.Errorf("write the files of claim %s: %w", name, err)
		}
	}
	return createConfig(ctx, cluster)
}

// WaitApp waits until every claim of the application is bound in a namespace.
func WaitApp(ctx context.Context, cluster *testbed.Cluster, namespace string) error {
	for claim := range claims {
		if _, err := cluster.WaitBound(ctx, namespace, claim); err != nil {
			return err
		}
	}
	return nil
}

// LoseApp deletes the application's namespace, and what its class keeps of it.
func LoseApp(ctx context.Context, cluster *testbed.Cluster, namespace string) error {
	if err := cluster.DeleteNamespace(ctx, namespace); err != nil {
		return err
	}
	volumes := cluster.Kube.CoreV1().PersistentVolumes()
	list, err := volumes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, pv := range list.Items {
		kept := pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain
		if kept && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Namespace == namespace {
			_, err = volumes.Patch(ctx, pv.Name, types.MergePatchType, []byte(`{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`), metav1.PatchOptions{})
		}
		if err != nil {
			return fmt.Errorf("delete PersistentVolume %s, which its class keeps: %w", pv.Name, err)
		}
	}
	return nil
}

// writeFiles fills dir with random files in nested folders, one of them
// executable, and a symbolic link.
func writeFiles(dir string) error {
	for i, size := range fileSizes {
		folder := filepath.Join(dir, fmt.Sprintf("folder %d", i%2), "nested")
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return err
		}
		content := make([]byte, size)
		rand.Read(content)
		mode := os.FileMode(0o640)
		if i%2 == 1 {
			mode = 0o750
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("file-%d.bin", i)), content, mode); err != nil {
			return err
		}
	}
	return os.Symlink(filepath.Join("folder 0", "nested"), filepath.Join(dir, "latest"))
}

func createConfig(ctx context.Context, cluster *testbed.Cluster) error {
	for i := range 3 {
		meta := metav1.ObjectMeta{Name: fmt.Sprintf("settings-%d", i), Labels: map[string]string{"app": "shop"}}
		config := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"motto": randomText()}}
		if _, err := cluster.Kube.CoreV1().ConfigMaps(Namespace).Create(ctx, config, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create ConfigMap %s: %w", meta.Name, err)
		}
		meta.Name = fmt.Sprintf("password-%d", i)
		secret := &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"password": randomText()}}
		if _, err := cluster.Kube.CoreV1().Secrets(Namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create Secret %s: %w", meta.Name, err)
		}
	}
	return nil
}

func randomText() string {
	text := make([]byte, 24)
	rand.Read(text)
	return hex.EncodeToString(text)
}
