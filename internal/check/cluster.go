package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/internal/kube"
)

// requestTimeout bounds one look into the cluster.
const requestTimeout = 10 * time.Second

// failureGrace is how long the Kubernetes API may answer with a failure of its own, as it
// does while a webhook is away.
const failureGrace = time.Minute

// Cluster is the cluster that Velero is in.
type Cluster struct {
	Namespace string // Velero's
	Config    *rest.Config
	Kube      *kube.Client
}

// NewCluster makes the clients. It sends no request.
func NewCluster(config *rest.Config, namespace string) (*Cluster, error) {
	client, err := kube.New(config, kube.Options{QPS: 50, Burst: 100, Grace: failureGrace})
	if err != nil {
		return nil, err
	}
	return &Cluster{Namespace: namespace, Config: config, Kube: client}, nil
}

// get reads the JSON at a path of the API into an object.
func (c *Cluster) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, fmt.Errorf("no answer from the Kubernetes API in %v", requestTimeout))
	defer cancel()
	raw, err := c.Kube.Raw(ctx, path, nil, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func (c *Cluster) namespaced(api, plural, name string) string {
	return strings.TrimSuffix(fmt.Sprintf("%s/namespaces/%s/%s/%s", api, c.Namespace, plural, name), "/")
}

// Find returns the location of that name. With no name it is the default one, or
// the only one.
func (c *Cluster) Find(ctx context.Context, kind Kind, name string) (*Location, error) {
	all, err := c.list(ctx, kind)
	if err != nil {
		return nil, err
	}
	found, err := pick(all, name)
	if err != nil {
		return nil, fmt.Errorf("%s in namespace %s: %w", kind.Name, c.Namespace, err)
	}
	return found.location(kind)
}

// FindAt reads the backup storage location of that name if it is at a place, and else any
// other that is. Where none is it returns the one of that name, wherever it is, as Find does.
func (c *Cluster) FindAt(ctx context.Context, name string, at func(l *Location) bool) (*Location, error) {
	named, err := c.Find(ctx, BackupStorage, name)
	if err == nil && at(named) {
		return named, nil
	}
	all, errList := c.list(ctx, BackupStorage)
	if errList != nil {
		return nil, errList
	}
	for i := range all {
		if other, err := all[i].location(BackupStorage); err == nil && at(other) {
			return other, nil
		}
	}
	return named, err
}

// list reads all locations of a kind.
func (c *Cluster) list(ctx context.Context, kind Kind) ([]object, error) {
	var list struct {
		Items []object `json:"items"`
	}
	err := c.get(ctx, c.namespaced("/apis/velero.io/v1", kind.plural, ""), &list)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the cluster at %s has no Velero: it does not know %s", c.Config.Host, kind.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("list %ss in namespace %s: %w", kind.Name, c.Namespace, err)
	}
	return list.Items, nil
}

// defaultName is the location that Velero makes the default one when it starts, unless its
// server is told another.
const defaultName = "default"

func isDefault(o object) bool { return o.Spec.Default }

// pick chooses as Velero does: where no name is given, spec.default counts, and the name
// only where no location has that.
func pick(items []object, name string) (*object, error) {
	choose := func(o object) bool { return o.Metadata.Name == name }
	switch {
	case name == "" && len(items) == 1:
		return &items[0], nil
	case name == "" && slices.ContainsFunc(items, isDefault):
		choose = isDefault
	case name == "":
		name = defaultName
	}
	i := slices.IndexFunc(items, choose)
	if i < 0 && len(items) == 0 {
		return nil, errors.New("there is none")
	}
	if i < 0 {
		var all []string
		for _, o := range items {
			all = append(all, o.Metadata.Name)
		}
		return nil, fmt.Errorf("there is no %q, only %s", name, strings.Join(all, ", "))
	}
	return &items[i], nil
}

// ReadDefaults adds the cluster's defaults to the location.
func (c *Cluster) ReadDefaults(ctx context.Context, kind Kind, l *Location) error {
	var err error
	l.Defaults, err = defaults.Read(ctx, c.Config, c.Namespace, kind.plugin)
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

// installSecret is the Secret that `velero install --secret-file` makes.
var installSecret = secretKey{"cloud-credentials", "cloud"}

// ReadSecrets fetches what the location names by Secrets. Credentials go into a
// temporary file, as Velero does it for a plugin; Forget removes it.
func (c *Cluster) ReadSecrets(ctx context.Context, l *Location) error {
	if l.caCertRef != nil {
		ca, err := c.Secret(ctx, l.caCertRef.Name, l.caCertRef.Key)
		if err != nil {
			return fmt.Errorf("spec.objectStorage.caCertRef: %w", err)
		}
		l.CACert = string(ca)
	}
	if l.CredentialsFile != "" || (l.credential == nil && os.Getenv("AWS_SHARED_CREDENTIALS_FILE") != "") {
		return nil
	}
	from, content, err := c.credentials(ctx, l)
	if err != nil {
		return fmt.Errorf("the location's credentials: %w", err)
	}
	if len(bytes.TrimSpace(content)) == 0 { // the usual chain of the AWS SDK
		l.ownCredentials = os.Getenv("KUBERNETES_SERVICE_HOST") == ""
	} else {
		l.CredentialsFrom = fmt.Sprintf("Secret %s/%s, key %s", c.Namespace, from.Name, from.Key)
	}
	if from == nil {
		return nil
	}
	return l.keep(content)
}

// credentials reads the Secret with the location's credentials: its own, or the one
// that Velero's container has mounted, where it has one.
func (c *Cluster) credentials(ctx context.Context, l *Location) (*secretKey, []byte, error) {
	from, optional := l.credential, false
	if from == nil {
		server, err := c.server(ctx)
		if from = server.credentials(); err != nil {
			from, optional = &installSecret, true
		}
	}
	if from == nil {
		return nil, nil, nil
	}
	content, err := c.Secret(ctx, from.Name, from.Key)
	if optional && apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	return from, content, err
}

// keep writes credentials into a temporary file, which only this user may read.
func (l *Location) keep(credentials []byte) error {
	file, err := os.CreateTemp("", "longshore-credentials-")
	if err != nil {
		return fmt.Errorf("keep the location's credentials for the check: %w", err)
	}
	l.CredentialsFile, l.temporary = file.Name(), true
	_, err = file.Write(credentials)
	return errors.Join(err, file.Close())
}

// Forget removes the credentials that were read from a Secret.
func (l *Location) Forget() error {
	if !l.temporary {
		return nil
	}
	return os.Remove(l.CredentialsFile)
}

// Secret returns the value of a key of a Secret in Velero's namespace.
func (c *Cluster) Secret(ctx context.Context, name, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, fmt.Errorf("no answer from the Kubernetes API in %v", requestTimeout))
	defer cancel()
	return c.Kube.SecretValue(ctx, c.Namespace, name, key)
}

// needsCluster tells whether the location can only be read with a cluster.
func (l *Location) needsCluster() bool {
	return l.caCertRef != nil || (l.credential != nil && l.CredentialsFile == "")
}

// Complete tells whether the location stands by itself. Otherwise the error says
// what a cluster is needed for.
func (l *Location) Complete() error {
	if l.needsCluster() {
		return fmt.Errorf("%s names a Secret, and there is no cluster to read it from; give the credentials with --credentials-file and the CA with --cacert", l.Subject)
	}
	return nil
}
