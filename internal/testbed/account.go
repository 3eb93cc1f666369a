package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Account is what a program that runs as a service account has.
type Account struct {
	// Kubeconfig is the path of a kubeconfig with the account's rights only.
	Kubeconfig string
	// Kube is a client with these rights.
	Kube kubernetes.Interface
}

// Account returns access to the cluster as a service account that exists. It
// ends after an hour.
func (c *Cluster) Account(ctx context.Context, namespace, name string) (*Account, error) {
	what := fmt.Sprintf("act as service account %s/%s", namespace, name)
	token, err := c.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	config := rest.CopyConfig(c.Config)
	config.BearerToken = token.Status.Token
	a := &Account{Kubeconfig: filepath.Join(c.dir, "kubeconfig-"+namespace+"-"+name)}
	if a.Kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	text := kubeconfig(c.Name, config.Host, identity{token: config.BearerToken, ca: config.CAData})
	if err := os.WriteFile(a.Kubeconfig, text, 0o600); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return a, nil
}
