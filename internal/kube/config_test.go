package kube

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

func TestNamespace(t *testing.T) {
	t.Setenv("VELERO_NAMESPACE", "backups")
	require.Equal(t, "backups", Namespace())
	t.Setenv("VELERO_NAMESPACE", "")
	require.Equal(t, "velero", Namespace())
}

func TestConfigWithoutCluster(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("KUBECONFIG", none)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := Config("", "")
	require.ErrorContains(t, err, `no cluster in KUBECONFIG ("`+none+`")`)
}

func TestNewSendsNothing(t *testing.T) {
	_, err := New(&rest.Config{Host: "https://127.0.0.1:1"}, Options{QPS: 1, Burst: 1})
	require.NoError(t, err)
	_, err = New(&rest.Config{Host: "https://127.0.0.1:1", TLSClientConfig: rest.TLSClientConfig{CAFile: "/none"}}, Options{QPS: 1, Burst: 1})
	require.ErrorContains(t, err, "127.0.0.1:1")
}

// TestLinksFewGroups keeps the program small: each of these brings every API
// group of Kubernetes along.
func TestLinksFewGroups(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".", "../../snapshotter").CombinedOutput()
	require.NoError(t, err, string(out))
	for _, heavy := range []string{
		"k8s.io/client-go/kubernetes", "k8s.io/client-go/kubernetes/scheme", "k8s.io/client-go/discovery", "k8s.io/client-go/informers",
		"github.com/kubernetes-csi/external-snapshotter/client/v6/clientset/versioned",
	} {
		require.NotContains(t, strings.Split(string(out), "\n"), heavy)
	}
}
