// Package defaults reads the settings that hold for every location of a
// cluster, unless the location itself says otherwise.
//
// They stand in a ConfigMap in Velero's namespace that has the labels
//
//	velero.io/plugin-config: ""
//	longshore.dev/s3-csi: ObjectStore (or VolumeSnapshotter)
//
// which is Velero's own convention for the configuration of plugins. There is
// at most one for each kind.
package defaults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// Provider is the name of both kinds of plugin in a location, and of the label
// that says for which of them a ConfigMap is.
const Provider = "longshore.dev/s3-csi"

// The kinds of plugin.
const (
	ObjectStore       = "ObjectStore"
	VolumeSnapshotter = "VolumeSnapshotter"
)

// deadline bounds the reading: Velero starts a plugin for every check of a
// location, and waits for it.
const deadline = 3 * time.Second

// Set is the defaults for one kind. The zero Set holds none.
type Set struct {
	// ConfigMap is where they stand, as namespace/name, "" for nowhere.
	ConfigMap string
	data      map[string]string
}

// MistakeError tells what is wrong with the ConfigMaps themselves.
type MistakeError struct{ text string }

func (e *MistakeError) Error() string { return e.text }

// Read reads the defaults for a kind with one request. A ConfigMap that cannot
// be meant so is a *MistakeError.
func Read(ctx context.Context, config *rest.Config, namespace, kind string) (Set, error) {
	client, err := kube.New(config, kube.Options{QPS: 5, Burst: 5})
	if err != nil {
		return Set{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("no answer from the Kubernetes API in %v", deadline))
	defer cancel()
	list, err := client.ConfigMaps.In(namespace).List(ctx, selector(kind))
	if err != nil {
		return Set{}, fmt.Errorf("look for defaults by the labels %s in namespace %s: %w", selector(kind), namespace, err)
	}
	return choose(list, kind)
}

func selector(kind string) string { return "velero.io/plugin-config," + Provider + "=" + kind }

func choose(found []*corev1.ConfigMap, kind string) (Set, error) {
	switch len(found) {
	case 0:
		return Set{}, nil
	case 1:
		set := Set{ConfigMap: nameOf(found[0]), data: found[0].Data}
		return set, set.check(kind)
	}
	var all []string
	for _, m := range found {
		all = append(all, nameOf(m))
	}
	slices.Sort(all)
	return Set{}, &MistakeError{fmt.Sprintf("several ConfigMaps give defaults for the %s: %s; at most one may have the labels %s",
		kind, strings.Join(all, ", "), selector(kind))}
}

func nameOf(m *corev1.ConfigMap) string { return m.Namespace + "/" + m.Name }

// protecting has how the keys begin that keep what is stored safe.
var protecting = map[string][]string{
	ObjectStore:       {"encryption", "customerKeyEncryption", "serverSideEncryption", "kms", "objectLock", "expectedBucketOwner"},
	VolumeSnapshotter: {"signingKeySecret", "requireSignature"},
}

// check refuses what Velero sets for each location itself, so that it would
// silently have no effect, and keys that protect: a location whose defaults may not be
// read any more would silently go on without them.
func (s Set) check(kind string) error {
	for _, key := range slices.Sorted(maps.Keys(s.data)) {
		if kind == ObjectStore && (key == "bucket" || key == "prefix") {
			return &MistakeError{fmt.Sprintf("%s: has no effect in ConfigMap %s: Velero sets it from each location's spec.objectStorage", key, s.ConfigMap)}
		}
		protects := func(start string) bool { return strings.HasPrefix(key, start) }
		if slices.ContainsFunc(protecting[kind], protects) {
			return &MistakeError{fmt.Sprintf("%s: put it into the config of each location, not into ConfigMap %s: where the plugin may not read that, it would go on without it", key, s.ConfigMap)}
		}
	}
	return nil
}

// Under returns config with the defaults for the keys that it does not have.
func (s Set) Under(config map[string]string) map[string]string {
	if len(s.data) == 0 {
		return config
	}
	whole := maps.Clone(s.data)
	maps.Copy(whole, config)
	return whole
}

// explain adds to an error where a part of the settings came from.
func (s Set) explain(err error) error {
	if err == nil || s.ConfigMap == "" {
		return err
	}
	return fmt.Errorf("%w (ConfigMap %s gives defaults for %s)", err, s.ConfigMap, strings.Join(slices.Sorted(maps.Keys(s.data)), ", "))
}
