// Package kube is the little of a Kubernetes client that the plugin needs: a
// handful of kinds, waits by watching, and changes with preconditions.
//
// It is built from rest clients over a scheme of few API groups. The usual
// clientset would link every API group of Kubernetes, which doubles the program.
package kube

import (
	"context"
	"errors"
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

// Client reaches one cluster. It is safe for concurrent use. Of kinds that live in
// namespaces, Resource.In gives the client for one.
type Client struct {
	PersistentVolumes      Resource[*corev1.PersistentVolume]
	Claims                 Resource[*corev1.PersistentVolumeClaim]
	ConfigMaps             Resource[*corev1.ConfigMap]
	Nodes                  Resource[*corev1.Node]
	StorageClasses         Resource[*storagev1.StorageClass]
	CSIDrivers             Resource[*storagev1.CSIDriver]
	CSINodes               Resource[*storagev1.CSINode]
	VolumeSnapshots        Resource[*snapshotv1.VolumeSnapshot]
	VolumeSnapshotContents Resource[*snapshotv1.VolumeSnapshotContent]
	VolumeSnapshotClasses  Resource[*snapshotv1.VolumeSnapshotClass]

	groupSnapshots []*GroupSnapshots // one for each of groupSnapshotVersions
	secrets        Resource[*corev1.Secret]
	core           rest.Interface
	retry          retrier

	config    *rest.Config
	transport *http.Client
}

// Options of a Client.
type Options struct {
	QPS   float64 // requests a second, on average, all calls together
	Burst int     // requests at once
	// Grace is how long a request is repeated that the API server answers with a
	// failure of its own (5xx), as it does while a webhook is away. 0 repeats it
	// until the call's context ends.
	Grace time.Duration
	// Log is told at once of a request that is repeated, and from time to time of
	// what is waited for. Nil tells nobody.
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
	core, errCore := groupClient(config, transport, "/api", corev1.SchemeGroupVersion)
	storage, errStorage := groupClient(config, transport, "/apis", storagev1.SchemeGroupVersion)
	snapshots, errSnapshots := groupClient(config, transport, "/apis", snapshotv1.SchemeGroupVersion)
	c := &Client{core: core, retry: retrier{grace: o.Grace, log: o.Log}, config: config, transport: transport}
	set(&c.PersistentVolumes, c, core, "PersistentVolume", "persistentvolumes")
	set(&c.Claims, c, core, "PersistentVolumeClaim", "persistentvolumeclaims")
	set(&c.ConfigMaps, c, core, "ConfigMap", "configmaps")
	set(&c.Nodes, c, core, "Node", "nodes")
	set(&c.secrets, c, core, "Secret", "secrets")
	set(&c.StorageClasses, c, storage, "StorageClass", "storageclasses")
	set(&c.CSIDrivers, c, storage, "CSIDriver", "csidrivers")
	set(&c.CSINodes, c, storage, "CSINode", "csinodes")
	set(&c.VolumeSnapshots, c, snapshots, "VolumeSnapshot", "volumesnapshots")
	set(&c.VolumeSnapshotContents, c, snapshots, "VolumeSnapshotContent", "volumesnapshotcontents")
	set(&c.VolumeSnapshotClasses, c, snapshots, "VolumeSnapshotClass", "volumesnapshotclasses")
	errs := []error{errCore, errStorage, errSnapshots}
	for _, version := range groupSnapshotVersions {
		client, err := groupClient(config, transport, "/apis", schema.GroupVersion{Group: groupSnapshotGroup, Version: version})
		g := &GroupSnapshots{Version: version}
		set(&g.Contents, c, client, "VolumeGroupSnapshotContent", "volumegroupsnapshotcontents")
		set(&g.Classes, c, client, "VolumeGroupSnapshotClass", "volumegroupsnapshotclasses")
		c.groupSnapshots, errs = append(c.groupSnapshots, g), append(errs, err)
	}
	return c, errors.Join(errs...)
}

func set[T Object](r *Resource[T], c *Client, client rest.Interface, kind, plural string) {
	*r = Resource[T]{verbs: verbs{client: client, plural: plural}, retry: c.retry, kind: kind}
}

func groupClient(config *rest.Config, transport *http.Client, path string, version schema.GroupVersion) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	objects, _ := codecs()
	config.APIPath = path
	config.GroupVersion = &version
	config.NegotiatedSerializer = objects.WithoutConversion()
	client, err := rest.RESTClientForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("make the client for %s: %w", version, err)
	}
	return client, nil
}

// codecs are those of the API's objects and options on the wire. They are made when
// they are first needed: a process that only stores objects, or tells what it can
// do, starts without them.
var codecs = sync.OnceValues(func() (serializer.CodecFactory, runtime.ParameterCodec) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, storagev1.AddToScheme, snapshotv1.AddToScheme, addGroupSnapshots} {
		utilruntime.Must(add(scheme))
	}
	return serializer.NewCodecFactory(scheme), runtime.NewParameterCodec(scheme)
})

// SecretValue returns what a Secret holds under key. This package has no other
// way to a Secret, so that the rights for it can name the one.
func (c *Client) SecretValue(ctx context.Context, namespace, name, key string) ([]byte, error) {
	secret, err := c.secrets.In(namespace).Get(ctx, name)
	if err != nil {
		return nil, err
	}
	value, found := secret.Data[key]
	if !found {
		return nil, fmt.Errorf("read Secret %s/%s: it has no key %q", namespace, name, key)
	}
	return value, nil
}

// Raw gets the JSON of what stands at an absolute path of the API, for the few
// kinds that are not worth a type. A body is posted there: the JSON of a review,
// which changes nothing.
func (c *Client) Raw(ctx context.Context, path string, parameters map[string]string, body []byte) ([]byte, error) {
	return retry(ctx, c.retry, "ask "+path, func(ctx context.Context) ([]byte, error) {
		request := c.core.Get().AbsPath(path)
		if body != nil {
			request = c.core.Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body)
		}
		for name, value := range parameters {
			request = request.Param(name, value)
		}
		return request.DoRaw(ctx)
	})
}
