package testbed

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// foreignObject names one object.
type foreignObject struct {
	kind            schema.GroupVersionResource
	namespace, name string
}

func (o foreignObject) String() string {
	if o.namespace == "" {
		return o.kind.Resource + " " + o.name
	}
	return o.kind.Resource + " " + o.namespace + "/" + o.name
}

var (
	claims    = corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	volumes   = corev1.SchemeGroupVersion.WithResource("persistentvolumes")
	classKind = storagev1.SchemeGroupVersion.WithResource("storageclasses")
	contents  = snapshotv1.SchemeGroupVersion.WithResource("volumesnapshotcontents")
	snapshots = snapshotv1.SchemeGroupVersion.WithResource("volumesnapshots")
)

// state is the whole object, with UID and resourceVersion, in lines; "" if it is gone.
func (o foreignObject) state(ctx context.Context, c *Cluster) (string, error) {
	object, err := c.Dynamic.Resource(o.kind).Namespace(o.namespace).Get(ctx, o.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	object.SetManagedFields(nil)
	text, err := json.MarshalIndent(object.Object, "", " ")
	return string(text), err
}

// treeState has a line for each file in a folder, with a digest of its content; ""
// if the folder is gone.
func treeState(folder string) (string, error) {
	var text strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		sum, err := beginningSum(path, info.Mode())
		fmt.Fprintf(&text, "%s %s %d %s %x\n", strings.TrimPrefix(path, folder), info.Mode(), info.Size(), info.ModTime(), sum)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return text.String(), err
}

// beginningSum is a digest of the first MiB of a file: a raw block volume is large,
// and holes but for its beginning.
func beginningSum(path string, mode fs.FileMode) ([]byte, error) {
	if !mode.IsRegular() {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, io.LimitReader(file, 1<<20))
	return sum.Sum(nil), err
}

// track makes Verify look at an object.
func (f *Foreign) track(kind schema.GroupVersionResource, namespace, name string) {
	f.objects = append(f.objects, foreignObject{kind, namespace, name})
}
