package testbed

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v6/clientset/versioned/typed/volumesnapshot/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// startControlPlane starts etcd and the API server and makes the clients.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	var etcd string
	err := c.run(ctx, Etcd, 2, func(ports []int) Command {
		etcd = "http://" + address(ports[0])
		peer := "http://" + address(ports[1])
		return Command{
			Args: []string{
				"--data-dir=" + filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
				"--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
				"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
				"--initial-cluster=default=" + peer,
			},
			Ready: answersHTTP(etcd + "/readyz"),
		}
	})
	if err != nil {
		return err
	}
	return c.startAPIServer(ctx, etcd)
}

func (c *Cluster) startAPIServer(ctx context.Context, etcd string) error {
	files, err := c.writeIdentity()
	if err != nil {
		return err
	}
	var audit []string
	if c.options.Audit {
		if audit, err = c.auditArgs(); err != nil {
			return err
		}
	}
	err = c.run(ctx, KubeAPIServer, 1, func(ports []int) Command {
		url := "https://" + address(ports[0])
		return Command{
			Args: append([]string{
				"--etcd-servers=" + etcd,
				"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[0]),
				"--cert-dir=" + c.dir, "--tls-cert-file=public.crt", "--tls-private-key-file=private.key",
				"--service-account-issuer=https://kubernetes.default.svc",
				"--service-account-key-file=" + files.accounts, "--service-account-signing-key-file=" + files.accounts,
				"--token-auth-file=" + files.tokens, "--authorization-mode=RBAC",
				"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount",
			}, audit...),
			Ready: func(ctx context.Context) error { return c.connect(ctx, url, files) },
		}
	})
	if err != nil {
		return err
	}
	return c.makeClients()
}

// identity is what the API server and its clients know each other by.
type identity struct {
	accounts, tokens string
	token            string
	ca               []byte
}

func (c *Cluster) writeIdentity() (identity, error) {
	id := identity{
		accounts: filepath.Join(c.dir, "accounts.key"),
		tokens:   filepath.Join(c.dir, "tokens.csv"),
		token:    rand.Text(),
	}
	var err error
	if id.ca, err = certificates(c.dir); err != nil {
		return id, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return id, fmt.Errorf("make the service accounts' key: %w", err)
	}
	text := encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	if err := os.WriteFile(id.accounts, text, 0o600); err != nil {
		return id, err
	}
	return id, os.WriteFile(id.tokens, []byte(id.token+`,admin,1,"system:masters"`+"\n"), 0o600)
}

// connect writes the kubeconfig and asks the server whether it is ready.
func (c *Cluster) connect(ctx context.Context, url string, id identity) error {
	c.Config = &rest.Config{
		Host: url, BearerToken: id.token, TLSClientConfig: rest.TLSClientConfig{CAData: id.ca},
		QPS: 200, Burst: 400,
	}
	c.Kubeconfig = filepath.Join(c.dir, "kubeconfig")
	if err := os.WriteFile(c.Kubeconfig, kubeconfig(c.Name, url, id), 0o600); err != nil {
		return err
	}
	if _, err := clientcmd.LoadFromFile(c.Kubeconfig); err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		return err
	}
	return answersOK(ctx, client, url+"/readyz")
}

func kubeconfig(name, url string, id identity) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster: {server: %[2]q, certificate-authority-data: %[3]s}
users:
- name: client
  user: {token: %[4]s}
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: client}
current-context: %[1]s
`, name, url, base64Text(id.ca), id.token)
}

func (c *Cluster) makeClients() (err error) {
	if c.Kube, err = kubernetes.NewForConfig(c.Config); err != nil {
		return err
	}
	if c.Dynamic, err = dynamic.NewForConfig(c.Config); err != nil {
		return err
	}
	c.Snapshots, err = snapshotclient.NewForConfig(c.Config)
	return err
}

func (c *Cluster) startControllerManager(ctx context.Context) error {
	return c.run(ctx, KubeControllerManager, 1, func(ports []int) Command {
		return Command{
			Args: []string{
				"--kubeconfig=" + c.Kubeconfig, "--service-account-private-key-file=" + filepath.Join(c.dir, "accounts.key"),
				"--leader-elect=false", "--controllers=*,-nodelifecycle,-nodeipam",
				"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[0]),
				"--cert-dir=" + filepath.Join(c.dir, "controller-manager"),
			},
			Ready: answersHTTP("https://" + address(ports[0]) + "/healthz"),
		}
	})
}
