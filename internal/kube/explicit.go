package kube

import (
	"context"
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

// RawPost sends the JSON of an object to an absolute path of the API and
// returns the JSON of the answer.
func (c *Client) RawPost(ctx context.Context, path string, body []byte) ([]byte, error) {
	return Retry(ctx, func(ctx context.Context) ([]byte, error) {
		return c.core.Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx)
	})
}
