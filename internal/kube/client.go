// Package kube is the little of a Kubernetes client that the plugin needs: a
// handful of kinds, waits by watching, and changes with preconditions.
//
// It is built from rest clients over a scheme of three API groups. The usual
// clientset would link every API group of Kubernetes, which doubles the program.
package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
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
	// VolumeSnapshots is the client for that kind.
	VolumeSnapshots = Resource[snapshotv1.VolumeSnapshot, snapshotv1.VolumeSnapshotList]
	// VolumeSnapshotContents is the client for that kind.
	VolumeSnapshotContents = Resource[snapshotv1.VolumeSnapshotContent, snapshotv1.VolumeSnapshotContentList]
	// VolumeSnapshotClasses is the client for that kind.
	VolumeSnapshotClasses = Resource[snapshotv1.VolumeSnapshotClass, snapshotv1.VolumeSnapshotClassList]
)

// Client reaches one cluster. It is safe for concurrent use.
type Client struct {
	core, storage, snapshots rest.Interface
	retry                    retrier
}

// Options of a Client.
type Options struct {
	QPS   float64 // requests a second, on average, all calls together
	Burst int     // requests at once
	// Grace is how long a request is repeated that the API server answers with a
	// failure of its own (5xx), as it does while a webhook is away. 0 repeats it
	// until the call's context ends.
	Grace time.Duration
	// Log is told at once of a request that is repeated, and now and then what is
	// waited for. Nil tells nobody.
	Log logrus.FieldLogger
}

// New makes a Client for the cluster of config. It sends no request.
func New(config *rest.Config, o Options) (*Client, error) {
	config = rest.CopyConfig(config)
	config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(float32(o.QPS), o.Burst)
	config.UserAgent = "velero-plugin-longshore"
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the Kubernetes API at %s: %w", config.Host, err)
	}
	if o.Log == nil {
		o.Log = &logrus.Logger{Out: io.Discard, Formatter: &logrus.TextFormatter{}, Hooks: logrus.LevelHooks{}}
	}
	c := &Client{retry: retrier{grace: o.Grace, log: o.Log}}
	for _, group := range []struct {
		client  *rest.Interface
		path    string
		version schema.GroupVersion
	}{
		{&c.core, "/api", corev1.SchemeGroupVersion},
		{&c.storage, "/apis", storagev1.SchemeGroupVersion},
		{&c.snapshots, "/apis", snapshotv1.SchemeGroupVersion},
	} {
		if *group.client, err = groupClient(config, transport, group.path, group.version); err != nil {
			return nil, err
		}
	}
	return c, nil
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
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, storagev1.AddToScheme, snapshotv1.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	return kinds{serializer.NewCodecFactory(scheme), runtime.NewParameterCodec(scheme)}
})

// SecretValue returns what a Secret holds under key. This package has no other
// way to a Secret, so that the rights for it can name the one.
func (c *Client) SecretValue(ctx context.Context, namespace, name, key string) ([]byte, error) {
	secret, err := resource[corev1.Secret, corev1.SecretList](c, c.core, "Secret", "secrets", namespace).Get(ctx, name)
	if err != nil {
		return nil, err
	}
	value, found := secret.Data[key]
	if !found {
		return nil, fmt.Errorf("read Secret %s/%s: it has no key %q", namespace, name, key)
	}
	return value, nil
}

// PersistentVolumes is the client for PersistentVolumes.
func (c *Client) PersistentVolumes() PersistentVolumes {
	return resource[corev1.PersistentVolume, corev1.PersistentVolumeList](c, c.core, "PersistentVolume", "persistentvolumes", "")
}

// Claims is the client for the PersistentVolumeClaims of a namespace.
func (c *Client) Claims(namespace string) PersistentVolumeClaims {
	return resource[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList](c, c.core, "PersistentVolumeClaim", "persistentvolumeclaims", namespace)
}

// ConfigMaps is the client for the ConfigMaps of a namespace.
func (c *Client) ConfigMaps(namespace string) ConfigMaps {
	return resource[corev1.ConfigMap, corev1.ConfigMapList](c, c.core, "ConfigMap", "configmaps", namespace)
}

// Nodes is the client for Nodes.
func (c *Client) Nodes() Nodes {
	return resource[corev1.Node, corev1.NodeList](c, c.core, "Node", "nodes", "")
}

// StorageClasses is the client for StorageClasses.
func (c *Client) StorageClasses() StorageClasses {
	return resource[storagev1.StorageClass, storagev1.StorageClassList](c, c.storage, "StorageClass", "storageclasses", "")
}

// CSIDrivers is the client for CSIDrivers.
func (c *Client) CSIDrivers() CSIDrivers {
	return resource[storagev1.CSIDriver, storagev1.CSIDriverList](c, c.storage, "CSIDriver", "csidrivers", "")
}

// CSINodes is the client for CSINodes.
func (c *Client) CSINodes() CSINodes {
	return resource[storagev1.CSINode, storagev1.CSINodeList](c, c.storage, "CSINode", "csinodes", "")
}

// VolumeSnapshots is the client for the VolumeSnapshots of a namespace.
func (c *Client) VolumeSnapshots(namespace string) VolumeSnapshots {
	return resource[snapshotv1.VolumeSnapshot, snapshotv1.VolumeSnapshotList](c, c.snapshots, "VolumeSnapshot", "volumesnapshots", namespace)
}

// VolumeSnapshotContents is the client for VolumeSnapshotContents.
func (c *Client) VolumeSnapshotContents() VolumeSnapshotContents {
	return resource[snapshotv1.VolumeSnapshotContent, snapshotv1.VolumeSnapshotContentList](c, c.snapshots, "VolumeSnapshotContent", "volumesnapshotcontents", "")
}

// VolumeSnapshotClasses is the client for VolumeSnapshotClasses.
func (c *Client) VolumeSnapshotClasses() VolumeSnapshotClasses {
	return resource[snapshotv1.VolumeSnapshotClass, snapshotv1.VolumeSnapshotClassList](c, c.snapshots, "VolumeSnapshotClass", "volumesnapshotclasses", "")
}

// Raw gets the JSON of what stands at an absolute path of the API, for the few
// kinds that are not worth a type.
func (c *Client) Raw(ctx context.Context, path string, parameters map[string]string) ([]byte, error) {
	return retry(ctx, c.retry, "get "+path, func(ctx context.Context) ([]byte, error) {
		request := c.core.Get().AbsPath(path)
		for name, value := range parameters {
			request = request.Param(name, value)
		}
		return request.DoRaw(ctx)
	})
}

// RawPost sends the JSON of an object to an absolute path of the API and returns
// the JSON of the answer. It is for reviews, which change nothing.
func (c *Client) RawPost(ctx context.Context, path string, body []byte) ([]byte, error) {
	return retry(ctx, c.retry, "post to "+path, func(ctx context.Context) ([]byte, error) {
		return c.core.Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx)
	})
}
