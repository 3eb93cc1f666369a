package cli

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"

	"filippo.io/age"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/check"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/snapshotter"
)

// TestSecretsOfTheClusterThatIsSwept: the keys of a location are in the cluster that the
// flags name, and not in the one that the environment names.
func TestSecretsOfTheClusterThatIsSwept(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	var asked []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		name := path.Base(r.URL.Path)
		asked = append(asked, name)
		switch name {
		case "backupstoragelocations":
			fmt.Fprintf(w, `{"items": [{"metadata": {"name": "default"}, "spec": {"provider": "longshore.dev/s3-csi", "credential": {"name": "keys", "key": "cloud"},
				"objectStorage": {"bucket": "backups"}, "config": {"s3Url": "http://127.0.0.1:1", "maxRetries": "0",
				"encryptionRecipients": %q, "encryptionIdentitySecret": "age/identity"}}}]}`, key.Recipient())
		case "configmaps":
			fmt.Fprint(w, `{"kind": "ConfigMapList", "apiVersion": "v1", "items": []}`)
		case "keys", "age":
			fmt.Fprintf(w, `{"apiVersion": "v1", "kind": "Secret", "data": {"cloud": %q, "identity": %q}}`,
				base64.StdEncoding.EncodeToString([]byte("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")), base64.StdEncoding.EncodeToString([]byte(key.String())))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(api.Close)
	another := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Error("the other cluster was asked for " + r.URL.Path) }))
	t.Cleanup(another.Close)
	t.Setenv("KUBECONFIG", testbed.Kubeconfig(t, another.URL))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "")

	cluster, err := check.NewCluster(&rest.Config{Host: api.URL}, "velero")
	require.NoError(t, err)
	log, _ := test.NewNullLogger()
	_, _, err = clusterLists{cluster, log}.SnapshotIDs(t.Context(), "default", snapshotter.StoreName("http://127.0.0.1:1", "backups", ""), "backup")
	require.ErrorContains(t, err, "127.0.0.1:1", "the keys fit, and it is the storage that is away")
	require.Contains(t, asked, "age")
}
