package defaults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// Open returns open with the cluster's defaults beneath the config it is given.
func Open[T any](kind string, log logrus.FieldLogger, open func(context.Context, map[string]string) (T, error)) func(context.Context, map[string]string) (T, error) {
	finder := finder{kind: kind, log: log.WithField("kind", kind)}
	return func(ctx context.Context, config map[string]string) (T, error) {
		set, err := finder.find(ctx)
		if err != nil {
			return *new(T), err
		}
		made, err := open(ctx, set.Under(config))
		return made, set.explain(err)
	}
}

// finder finds the defaults from within a plugin process.
type finder struct {
	kind string
	log  logrus.FieldLogger
	once sync.Once
}

// find never fails a location that can do without: where there is no cluster, or
// where ConfigMaps may not be read, nobody can have meant any defaults. A cluster that
// does not answer leaves open whether there are some.
func (f *finder) find(ctx context.Context) (Set, error) {
	if !clusterNamed() {
		f.without("no cluster", nil)
		return Set{}, nil
	}
	set, err := f.read(ctx)
	var mistake *MistakeError
	switch {
	case err == nil || errors.As(err, &mistake):
		return set, err
	case apierrors.IsForbidden(err):
		f.without("may not be read", err)
		return Set{}, nil
	}
	return Set{}, fmt.Errorf("cannot tell the cluster's default settings: %w", err)
}

func (f *finder) read(ctx context.Context) (Set, error) {
	config, err := kube.Config("", "")
	if err != nil {
		return Set{}, err
	}
	return Read(ctx, config, kube.Namespace(), f.kind)
}

// without logs once in the life of the process.
func (f *finder) without(reason string, err error) {
	f.once.Do(func() {
		f.log.WithField("reason", reason).WithError(err).Debug("Without default settings of the cluster")
	})
}

// clusterNamed tells whether the process is in a pod or KUBECONFIG names a
// cluster. It ignores ~/.kube/config, which is a person's and not Velero's.
func clusterNamed() bool {
	_, err := rest.InClusterConfig()
	return err == nil || os.Getenv("KUBECONFIG") != ""
}
