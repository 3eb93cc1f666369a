package e2e

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// verdictTime bounds the wait for Velero's verdict on a location.
const verdictTime = time.Minute

// testBadLocations wants each mistake in a backup storage location to end in
// one clear message in the location's status.
func testBadLocations(t *testing.T, server *testbed.VeleroServer, s3 *testbed.S3) {
	closed := closedAddress(t)
	makeSecret(t, server, "wrong", "[default]\naws_access_key_id = "+s3.AccessKey+"\naws_secret_access_key = wrong\n")
	for _, test := range []struct {
		name, bucket, secret string
		config               map[string]string
		says                 []string
	}{
		{
			name: "unknown-key", bucket: badInputBucket, config: map[string]string{"regoin": "eu"},
			says: []string{"regoin: unknown key; did you mean region?"},
		},
		{
			name: "malformed-url", bucket: badInputBucket, config: map[string]string{"s3Url": "s3.example"},
			says: []string{"s3Url", `"s3.example"`, "http"},
		},
		{
			name: "missing-bucket", bucket: "nowhere",
			says: []string{"nowhere", "NoSuchBucket"},
		},
		{
			name: "wrong-credentials", bucket: badInputBucket, secret: "wrong",
			says: []string{badInputBucket, "SignatureDoesNotMatch"},
		},
		{
			name: "unreachable", bucket: badInputBucket, config: map[string]string{"s3Url": "http://" + closed},
			says: []string{"connection refused", badInputBucket},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := s3.LocationConfig()
			maps.Copy(config, test.config)
			message := badLocation(t, server, test.name, test.bucket, test.secret, config)
			t.Log(message)
			for _, word := range test.says {
				require.Contains(t, message, word)
			}
			require.NotContains(t, message, s3.SecretKey)
		})
	}
}

// badLocation makes a location and returns the message with which Velero finds
// it unavailable.
func badLocation(t *testing.T, server *testbed.VeleroServer, name, bucket, secret string, config map[string]string) string {
	t.Helper()
	spec := map[string]any{
		"provider":      testbed.Provider,
		"objectStorage": map[string]any{"bucket": bucket},
		"config":        asAny(config),
	}
	if secret != "" {
		spec["credential"] = map[string]any{"name": secret, "key": "cloud"}
	}
	client := server.Objects("backupstoragelocations")
	_, err := client.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
		"metadata": map[string]any{"name": name},
		"spec":     spec,
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = server.WaitPhase(t.Context(), "backupstoragelocations", name, verdictTime, "Unavailable")
	require.NoError(t, err)
	status, err := server.Status(t.Context(), "backupstoragelocations", name)
	require.NoError(t, err)
	require.NoError(t, client.Delete(t.Context(), name, metav1.DeleteOptions{}))
	return fmt.Sprint(status["message"])
}

// closedAddress is an address that nobody listens on.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

func asAny(config map[string]string) map[string]any {
	converted := map[string]any{}
	for key, value := range config {
		converted[key] = value
	}
	return converted
}

func makeSecret(t *testing.T, server *testbed.VeleroServer, name, credentials string) {
	t.Helper()
	require.NoError(t, server.Cluster.Apply(t.Context(), strings.Join([]string{
		"apiVersion: v1", "kind: Secret", "metadata:", "  name: " + name, "  namespace: " + server.Namespace,
		"stringData:", "  cloud: " + fmt.Sprintf("%q", credentials),
	}, "\n")))
}
