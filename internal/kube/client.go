// Package kube holds the few typed Kubernetes clients the snapshotter needs,
// and waiting on them.
//
// It is built from rest clients over a scheme of two API groups. The usual
// clientset would link every API group Kubernetes has, which doubles the
// program; see the linker's view with `go list -deps`.
package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	volumesnapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/clientset/versioned/typed/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

type (
	// PersistentVolumes is the client for that kind.
	PersistentVolumes = Resource[corev1.PersistentVolume, corev1.PersistentVolumeList]
	// PersistentVolumeClaims is the client for that kind.
	PersistentVolumeClaims = Resource[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList]
	// ConfigMaps is the client for that kind.
	ConfigMaps = Resource[corev1.ConfigMap, corev1.ConfigMapList]
	// Nodes is the client for that kind.
	Nodes = Resource[corev1.Node, corev1.NodeList]
	// StorageClasses is the client for that kind.
	StorageClasses = Resource[storagev1.StorageClass, storagev1.StorageClassList]
	// CSIDrivers is the client for that kind.
	CSIDrivers = Resource[storagev1.CSIDriver, storagev1.CSIDriverList]
	// CSINodes is the client for that kind.
	CSINodes = Resource[storagev1.CSINode, storagev1.CSINodeList]
)

// Client reaches one cluster. It is safe for concurrent use.
type Client struct {
	core, storage rest.Interface
	snapshots     snapshotv1.SnapshotV1Interface
}

// Limits bound the requests of a Client, all its calls together.
type Limits struct {
	QPS   float64 // requests a second, on average
	Burst int     // requests at once
}

// New makes a Client for the cluster of config. It sends no request.
func New(config *rest.Config, limits Limits) (*Client, error) {
	config = rest.CopyConfig(config)
	config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(float32(limits.QPS), limits.Burst)
	config.UserAgent = "velero-plugin-longshore"
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the Kubernetes API at %s: %w", config.Host, err)
	}
	return newClient(config, transport)
}

func newClient(config *rest.Config, transport *http.Client) (*Client, error) {
	core, err := groupClient(config, transport, "/api", corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	storage, err := groupClient(config, transport, "/apis", storagev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	snapshots, err := snapshotv1.NewForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("make the client for snapshot.storage.k8s.io: %w", err)
	}
	return &Client{core: core, storage: storage, snapshots: snapshots}, nil
}

func groupClient(config *rest.Config, transport *http.Client, path string, version schema.GroupVersion) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.APIPath = path
	config.GroupVersion = &version
	config.NegotiatedSerializer = known().codecs.WithoutConversion()
	client, err := rest.RESTClientForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("make the client for %s: %w", version, err)
	}
	return client, nil
}

// kinds are the API's objects and options on the wire.
type kinds struct {
	codecs     serializer.CodecFactory
	parameters runtime.ParameterCodec
}

// known is made when it is first needed: a process that only stores objects, or
// tells what it can do, starts without it.
var known = sync.OnceValue(func() kinds {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(storagev1.AddToScheme(scheme))
	return kinds{serializer.NewCodecFactory(scheme), runtime.NewParameterCodec(scheme)}
})

// SecretValue returns what a Secret holds under key. This package has no other
// way to a Secret, so that the rights for it can name the one.
func (c *Client) SecretValue(ctx context.Context, namespace, name, key string) ([]byte, error) {
	secrets := Resource[corev1.Secret, corev1.SecretList]{c.core, "secrets", namespace}
	secret, err := Retry(ctx, func(ctx context.Context) (*corev1.Secret, error) {
		return secrets.Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return nil, fmt.Errorf("read Secret %s/%s: %w", namespace, name, err)
	}
	value, found := secret.Data[key]
	if !found {
		return nil, fmt.Errorf("read Secret %s/%s: it has no key %q", namespace, name, key)
	}
	return value, nil
}

// PersistentVolumes is the client for PersistentVolumes.
func (c *Client) PersistentVolumes() PersistentVolumes {
	return Resource[corev1.PersistentVolume, corev1.PersistentVolumeList]{c.core, "persistentvolumes", ""}
}

// Claims is the client for the PersistentVolumeClaims of a namespace, of all of
// them if it is "".
func (c *Client) Claims(namespace string) PersistentVolumeClaims {
	return Resource[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList]{c.core, "persistentvolumeclaims", namespace}
}

// ConfigMaps is the client for the ConfigMaps of a namespace.
func (c *Client) ConfigMaps(namespace string) ConfigMaps {
	return Resource[corev1.ConfigMap, corev1.ConfigMapList]{c.core, "configmaps", namespace}
}

// Nodes is the client for Nodes.
func (c *Client) Nodes() Nodes {
	return Resource[corev1.Node, corev1.NodeList]{c.core, "nodes", ""}
}

// StorageClasses is the client for StorageClasses.
func (c *Client) StorageClasses() StorageClasses {
	return Resource[storagev1.StorageClass, storagev1.StorageClassList]{c.storage, "storageclasses", ""}
}

// CSIDrivers is the client for CSIDrivers.
func (c *Client) CSIDrivers() CSIDrivers {
	return Resource[storagev1.CSIDriver, storagev1.CSIDriverList]{c.storage, "csidrivers", ""}
}

// CSINodes is the client for CSINodes.
func (c *Client) CSINodes() CSINodes {
	return Resource[storagev1.CSINode, storagev1.CSINodeList]{c.storage, "csinodes", ""}
}

// VolumeSnapshots is the client for the VolumeSnapshots of a namespace, of all
// of them if it is "".
func (c *Client) VolumeSnapshots(namespace string) snapshotv1.VolumeSnapshotInterface {
	return c.snapshots.VolumeSnapshots(namespace)
}

// VolumeSnapshotContents is the client for VolumeSnapshotContents.
func (c *Client) VolumeSnapshotContents() snapshotv1.VolumeSnapshotContentInterface {
	return c.snapshots.VolumeSnapshotContents()
}

// VolumeSnapshotClasses is the client for VolumeSnapshotClasses.
func (c *Client) VolumeSnapshotClasses() snapshotv1.VolumeSnapshotClassInterface {
	return c.snapshots.VolumeSnapshotClasses()
}

// Raw gets the JSON of what stands at an absolute path of the API, for the few
// kinds that are not worth a type.
func (c *Client) Raw(ctx context.Context, path string, parameters map[string]string) ([]byte, error) {
	return Retry(ctx, func(ctx context.Context) ([]byte, error) {
		request := c.core.Get().AbsPath(path)
		for name, value := range parameters {
			request = request.Param(name, value)
		}
		return request.DoRaw(ctx)
	})
}

// DeleteContent deletes exactly this VolumeSnapshotContent. It returns the
// content as it is while finalizers hold it, nil if it is gone.
func (c *Client) DeleteContent(ctx context.Context, content *volumesnapshotv1.VolumeSnapshotContent) (*volumesnapshotv1.VolumeSnapshotContent, error) {
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &content.UID}}
	raw, err := Retry(ctx, func(ctx context.Context) ([]byte, error) {
		return c.snapshots.RESTClient().Delete().Resource("volumesnapshotcontents").Name(content.Name).Body(&options).DoRaw(ctx)
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kind metav1.TypeMeta
	if err := json.Unmarshal(raw, &kind); err != nil || kind.Kind != "VolumeSnapshotContent" {
		return nil, err // a Status tells that the content is gone
	}
	var left volumesnapshotv1.VolumeSnapshotContent
	return &left, json.Unmarshal(raw, &left)
}
