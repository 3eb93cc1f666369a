package check

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// TestCredentialsOfVelero: of velero install, of the Helm chart with existingSecret,
// and of people's own mounts.
func TestCredentialsOfVelero(t *testing.T) {
	const installed = `"volumeMounts": [{"name": "plugins", "mountPath": "/plugins"}, {"name": "c", "mountPath": "/credentials"}]`
	for name, test := range map[string]struct {
		container, volumes string
		want               *secretKey
	}{
		"velero install": {
			`"env": [{"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/credentials/cloud"}], ` + installed,
			`{"name": "c", "secret": {"secretName": "cloud-credentials"}}`, &secretKey{"cloud-credentials", "cloud"},
		},
		"existingSecret": {
			`"env": [{"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/credentials/cloud"}], ` + installed,
			`{"name": "plugins", "emptyDir": {}}, {"name": "c", "secret": {"secretName": "s3"}}`, &secretKey{"s3", "cloud"},
		},
		"another path for the key": {
			`"env": [{"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/credentials/aws/file"}], ` + installed,
			`{"name": "c", "secret": {"secretName": "s3", "items": [{"key": "cloud", "path": "aws/file"}]}}`, &secretKey{"s3", "cloud"},
		},
		"one file": {
			`"env": [{"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/aws"}], "volumeMounts": [{"name": "c", "mountPath": "/aws", "subPath": "cloud"}]`,
			`{"name": "c", "secret": {"secretName": "s3"}}`, &secretKey{"s3", "cloud"},
		},
		"no Secret":   {`"env": [{"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/credentials/cloud"}], ` + installed, `{"name": "c", "emptyDir": {}}`, nil},
		"no variable": {installed, `{"name": "c", "secret": {"secretName": "s3"}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var w workload
			text := `{"spec": {"template": {"spec": {"containers": [{` + test.container + `}], "volumes": [` + test.volumes + `]}}}}`
			require.NoError(t, json.Unmarshal([]byte(text), &w))
			require.Equal(t, test.want, w.credentials())
		})
	}
}

func TestArgument(t *testing.T) {
	for _, test := range []struct{ args, want []string }{
		{[]string{"server", "--features=A,EnableCSI"}, []string{"A", "EnableCSI"}},
		{[]string{"server", "--features", "EnableCSI"}, []string{"EnableCSI"}},
		{[]string{"server", "--features="}, []string{""}},
		{[]string{"server", "EnableCSI", "--features"}, nil},
	} {
		var w workload
		w.Spec.Template.Spec.Containers = []container{{Args: test.args}}
		require.Equal(t, test.want, w.argument("--features"))
	}
}

// TestFeatures: those of Velero's Deployment, and an error where that is not read.
func TestFeatures(t *testing.T) {
	status := http.StatusOK
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/apis/apps/v1/namespaces/backup/deployments/velero", r.URL.Path)
		w.WriteHeader(status)
		fmt.Fprint(w, `{"spec": {"template": {"spec": {"containers": [{"args": ["server", "--features=A,EnableCSI"]}]}}}}`)
	}))
	t.Cleanup(api.Close)
	c, err := NewCluster(&rest.Config{Host: api.URL}, "backup")
	require.NoError(t, err)
	features, err := c.Features(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"A", "EnableCSI"}, features)
	status = http.StatusForbidden
	_, err = c.Features(t.Context())
	require.Error(t, err)
}
