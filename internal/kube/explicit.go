package kube

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ConfigOf finds the cluster that a person names: the one of a kubeconfig file
// and a context in it. An empty file is KUBECONFIG or ~/.kube/config, an empty
// context the file's current one. With both empty it is that of Config.
func ConfigOf(file, context string) (*rest.Config, error) {
	if file == "" && context == "" {
		return Config()
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the Kubernetes cluster: kubeconfig %q, context %q: %w", file, context, err)
	}
	return config, nil
}
