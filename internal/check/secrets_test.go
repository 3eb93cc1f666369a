package check

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// clusterWith is a cluster whose Secrets have these contents under the key cloud.
func clusterWith(t *testing.T, secrets map[string]string) *Cluster {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if content, there := secrets[path.Base(r.URL.Path)]; there {
			fmt.Fprintf(w, `{"apiVersion": "v1", "kind": "Secret", "data": {"cloud": %q}}`, base64.StdEncoding.EncodeToString([]byte(content)))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`)
	}))
	t.Cleanup(api.Close)
	cluster, err := NewCluster(&rest.Config{Host: api.URL}, "velero")
	require.NoError(t, err)
	return cluster
}

// TestEmptySecret is of somebody whose Velero uses a role: outside of its pod the
// credentials of this machine stand for it.
func TestEmptySecret(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "")
	cluster := clusterWith(t, map[string]string{"full": "[default]", "empty": "\n"})
	for name, own := range map[string]bool{"full": false, "empty": true} {
		l := &Location{credential: &secretKey{name, "cloud"}}
		require.NoError(t, cluster.ReadSecrets(t.Context(), l))
		require.Equal(t, own, l.ownCredentials, name)
		require.Equal(t, own, l.CredentialsFrom == "", name)
		require.FileExists(t, l.CredentialsFile)
		require.NoError(t, l.Forget())
		require.NoFileExists(t, l.CredentialsFile)
	}
	l := &Location{credential: &secretKey{"none", "cloud"}}
	require.ErrorContains(t, cluster.ReadSecrets(t.Context(), l), "velero/none")
}

// TestOverride: what the command line says takes precedence, wherever a location has it.
func TestOverride(t *testing.T) {
	l := &Location{Bucket: "own", Prefix: "own", CACert: "own", caCertRef: &secretKey{"ca", "ca"}, Config: map[string]string{"region": "own", "profile": "own"}}
	pairs := map[string]string{"bucket": "b", "prefix": "p", "caCert": "c", "credentialsFile": "/f", "region": "r"}
	l.Override(BackupStorage, pairs)
	require.Equal(t, map[string]string{"bucket": "b", "prefix": "p", "caCert": "c", "credentialsFile": "/f", "region": "r", "profile": "own"}, l.ObjectStoreConfig())
	require.Equal(t, "b", l.Bucket)
	require.NoError(t, l.Complete(), "no Secret is needed any more")

	l = &Location{Config: map[string]string{"encryptionIdentitySecret": "age/identity", "customerKeyEncryptionSecret": "sse/key"}}
	l.Override(BackupStorage, map[string]string{"encryptionIdentityFile": "/f"})
	require.Equal(t, map[string]string{"encryptionIdentityFile": "/f", "customerKeyEncryptionSecret": "sse/key"}, l.Config, "a file takes the place of its Secret")

	s := &Location{}
	s.Override(VolumeSnapshot, pairs)
	require.Equal(t, pairs, s.Settings(), "which has none of these, and says so")
}
