package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// serviceAccountNamespace is where a pod finds its own namespace.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Config finds the cluster: that of a kubeconfig file and a context in it, where a
// person names either of the two; else the one this pod runs in, else that of the
// file KUBECONFIG names, else that of ~/.kube/config. It is the order Velero itself
// follows, except that a pod may not be talked out of its own cluster.
func Config(file, context string) (*rest.Config, error) {
	if file == "" && context == "" {
		if config, err := rest.InClusterConfig(); err == nil {
			return config, nil
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("find the Kubernetes cluster: not running in a pod, and no cluster in KUBECONFIG (%q), else ~/.kube/config", os.Getenv("KUBECONFIG"))
	}
	if err != nil {
		return nil, fmt.Errorf("find the Kubernetes cluster: kubeconfig %q (empty is that of KUBECONFIG, else ~/.kube/config), context %q: %w", file, context, err)
	}
	return config, nil
}

// Namespace is Velero's namespace: VELERO_NAMESPACE, else the pod's own, else
// "velero".
func Namespace() string {
	if namespace := os.Getenv("VELERO_NAMESPACE"); namespace != "" {
		return namespace
	}
	content, err := os.ReadFile(filepath.Clean(serviceAccountNamespace))
	if namespace := strings.TrimSpace(string(content)); err == nil && namespace != "" {
		return namespace
	}
	return "velero"
}
