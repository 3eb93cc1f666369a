package check

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/docs"
	"github.com/longshore-dev/velero-plugin/internal/defaults"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// velero finds out whether Velero lets a plugin take the snapshots: with
// EnableCSI it takes those of CSI volumes itself.
func (v *volumeSnapshotter) velero(ctx context.Context) (string, error) {
	w, err := v.server(ctx)
	if apierrors.IsNotFound(err) {
		return "", Warn("there is no Deployment velero in namespace "+v.Namespace, "name Velero's namespace with --namespace")
	}
	if err != nil {
		return "", err
	}
	if slices.Contains(w.argument("--features"), "EnableCSI") {
		return "", Fail("Velero runs with --features=EnableCSI: it takes the snapshots of CSI volumes itself and never asks this location",
			"remove EnableCSI from --features in the arguments of Deployment "+v.Namespace+"/velero; but read this first, since old backups need EnableCSI: "+docs.Page("migrate-from-enablecsi.md"))
	}
	return "asks its volume snapshot locations (no EnableCSI)", nil
}

// defaultLocation is the argument of Velero's server that names, as PROVIDER:NAME,
// the location that a backup uses which names none.
const defaultLocation = "--default-volume-snapshot-locations"

// locations finds out whether a backup that names no location has one of this
// provider: of several Velero takes none by itself, and the backup fails validation.
func (v *volumeSnapshotter) locations(ctx context.Context) (string, error) {
	all, err := v.list(ctx, VolumeSnapshot)
	if err != nil {
		return "", err
	}
	var names []string
	for _, o := range all {
		if o.Spec.Provider == defaults.Provider {
			names = append(names, o.Metadata.Name)
		}
	}
	if len(names) < 2 {
		return "backups need not name it", nil
	}
	w, err := v.server(ctx)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", err
	}
	for _, value := range w.argument(defaultLocation) {
		if name, found := strings.CutPrefix(value, defaults.Provider+":"); found {
			return fmt.Sprintf("of %s Velero's server takes %s by default", strings.Join(names, ", "), name), nil
		}
	}
	return "", Warn(fmt.Sprintf("this provider has the locations %s, and Velero's server has no default among them: a backup that names none with --volume-snapshot-locations fails validation", strings.Join(names, ", ")),
		fmt.Sprintf("add %s=%s:%s to the arguments of Deployment %s/velero", defaultLocation, defaults.Provider, names[0], v.Namespace))
}

// permissions asks whether Velero's service account has every right. Who may not
// ask that asks for himself.
func (v *volumeSnapshotter) permissions(ctx context.Context) (string, error) {
	account := v.serviceAccount(ctx)
	lacking, err := v.lackingOf(ctx, account)
	if apierrors.IsForbidden(err) {
		account = ""
		lacking, err = v.lackingOf(ctx, account)
	}
	v.lacking = lacking
	if err != nil {
		return "", err
	}
	who := "service account " + account
	if account == "" {
		who = "this user (Velero's rights may not be asked for)"
	}
	if len(lacking) > 0 {
		return "", Fail(who+" may not "+strings.Join(lacking, "; "), "grant them: "+v.printRights(ctx)+" | kubectl apply -f -")
	}
	return who + " has all rights", nil
}

// printRights is the command that prints the manifest with all rights.
func (v *volumeSnapshotter) printRights(ctx context.Context) string {
	_, account, _ := strings.Cut(v.serviceAccount(ctx), "/")
	command := "velero-plugin-longshore print rbac -n " + v.Namespace + " --service-account " + account
	if staging := v.s.Settings().StagingNamespace; staging != v.Namespace {
		command += " --staging-namespace " + staging
	}
	return command
}

// serviceAccount is Velero's, as namespace/name.
func (v *volumeSnapshotter) serviceAccount(ctx context.Context) string {
	w, err := v.server(ctx)
	name := w.Spec.Template.Spec.ServiceAccountName
	if err != nil || name == "" {
		name = "velero"
	}
	return v.Namespace + "/" + name
}

func (v *volumeSnapshotter) lackingOf(ctx context.Context, account string) ([]string, error) {
	var lacking []string
	for _, right := range v.s.Settings().Rights() {
		for _, verb := range right.Verbs {
			granted, err := v.mayDo(ctx, account, right, verb)
			if err != nil {
				return nil, err
			}
			if !granted {
				lacking = append(lacking, verb+" "+describeRight(right, v.place(right)))
			}
		}
	}
	return lacking, nil
}

// place is the namespace in which a right is needed, "" for all of them.
func (v *volumeSnapshotter) place(r snapshotter.Right) string {
	switch r.Namespace {
	case snapshotter.InStaging:
		return v.s.Settings().StagingNamespace
	case snapshotter.InVelero:
		return v.Namespace
	case snapshotter.InDefault:
		return metav1.NamespaceDefault
	}
	return ""
}

func describeRight(r snapshotter.Right, namespace string) string {
	text := strings.TrimSuffix(r.Resource+"/"+r.Subresource, "/")
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += " " + r.Name
	}
	if namespace != "" {
		text += " in namespace " + namespace
	}
	return text
}

// review is a SubjectAccessReview, or the one of oneself.
type review struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Spec       map[string]any `json:"spec"`
	Status     struct {
		Allowed bool `json:"allowed"`
	} `json:"status"`
}

func (v *volumeSnapshotter) mayDo(ctx context.Context, account string, r snapshotter.Right, verb string) (bool, error) {
	attributes := map[string]any{"group": r.Group, "resource": r.Resource, "subresource": r.Subresource, "name": r.Name, "verb": verb}
	if namespace := v.place(r); namespace != "" {
		attributes["namespace"] = namespace
	}
	asked := review{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview", Spec: map[string]any{"resourceAttributes": attributes}}
	if namespace, name, found := strings.Cut(account, "/"); found {
		asked.Kind = "SubjectAccessReview"
		asked.Spec["user"] = "system:serviceaccount:" + namespace + ":" + name
		asked.Spec["groups"] = []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, fmt.Errorf("no answer from the Kubernetes API in %v", requestTimeout))
	defer cancel()
	raw, err := v.Kube.Raw(ctx, "/apis/authorization.k8s.io/v1/"+strings.ToLower(asked.Kind)+"s", nil, body)
	if err != nil {
		return false, fmt.Errorf("ask for permissions: %w", err)
	}
	var answer review
	err = json.Unmarshal(raw, &answer)
	return answer.Status.Allowed, err
}
