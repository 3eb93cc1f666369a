package defaults

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: name}, Data: data}
}

func TestChoose(t *testing.T) {
	set, err := choose(nil, ObjectStore)
	require.NoError(t, err)
	own := map[string]string{"region": "own"}
	require.Equal(t, own, set.Under(own))
	require.NoError(t, set.explain(nil))

	set, err = choose([]*corev1.ConfigMap{configMap("a", map[string]string{"region": "default", "s3Url": "http://s3"})}, ObjectStore)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"region": "own", "s3Url": "http://s3"}, set.Under(own))
	require.Equal(t, map[string]string{"region": "own"}, own)
	require.EqualError(t, set.explain(errors.New("bad")), "bad (ConfigMap velero/a gives defaults for region, s3Url)")

	_, err = choose([]*corev1.ConfigMap{configMap("b", nil), configMap("a", nil)}, ObjectStore)
	var mistake *MistakeError
	require.ErrorAs(t, err, &mistake)
	require.ErrorContains(t, err, "velero/a, velero/b")

	bucket := []*corev1.ConfigMap{configMap("a", map[string]string{"bucket": "b"})}
	_, err = choose(bucket, ObjectStore)
	require.ErrorContains(t, err, "bucket: has no effect in ConfigMap velero/a")
	_, err = choose(bucket, VolumeSnapshotter)
	require.NoError(t, err)

}

// TestChooseNoProtection: where the ConfigMap may not be read any more, a location would
// silently go on without these keys.
func TestChooseNoProtection(t *testing.T) {
	for kind, keys := range map[string][]string{
		ObjectStore: {
			"encryptionRecipients", "encryptionIdentitySecret", "encryptionIdentityFile", "encryptionRequired", "customerKeyEncryptionSecret", "customerKeyEncryptionFile",
			"serverSideEncryption", "kmsKeyId", "kmsContext", "objectLockMode", "objectLockRetention", "objectLockLegalHold", "expectedBucketOwner",
		},
		VolumeSnapshotter: {"signingKeySecret", "requireSignature"},
	} {
		for _, key := range keys {
			_, err := choose([]*corev1.ConfigMap{configMap("a", map[string]string{key: "x"})}, kind)
			var mistake *MistakeError
			require.ErrorAs(t, err, &mistake, key)
			require.ErrorContains(t, err, key+": put it into the config of each location, not into ConfigMap velero/a")
		}
	}
}

// inCluster serves a Kubernetes API for this test's process.
func inCluster(t *testing.T, api http.HandlerFunc) {
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	withCluster(t, server.URL)
}

func withCluster(t *testing.T, address string) {
	t.Setenv("KUBECONFIG", testbed.Kubeconfig(t, address))
	t.Setenv("VELERO_NAMESPACE", "velero")
}

// opened opens a plugin of the kind that is its own config.
func opened(t *testing.T, kind string, config map[string]string) (map[string]string, []*logrus.Entry, error) {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	open := Open(kind, log, func(_ context.Context, config map[string]string) (map[string]string, error) { return config, nil })
	_, err := open(t.Context(), config)
	if err != nil {
		return nil, hook.AllEntries(), err
	}
	made, err := open(t.Context(), config)
	return made, hook.AllEntries(), err
}

func TestOpenReadsOnce(t *testing.T) {
	requests := 0
	inCluster(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		require.Equal(t, "/api/v1/namespaces/velero/configmaps", r.URL.Path)
		require.Equal(t, "velero.io/plugin-config,longshore.dev/s3-csi=ObjectStore", r.URL.Query().Get("labelSelector"))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(corev1.ConfigMapList{
			TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"},
			Items:    []corev1.ConfigMap{*configMap("a", map[string]string{"region": "r"})},
		})
	})
	made, _, err := opened(t, ObjectStore, map[string]string{"bucket": "b"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"bucket": "b", "region": "r"}, made)
	require.Equal(t, 2, requests, "one for each Init")
}

func TestOpenWithoutDefaults(t *testing.T) {
	refused := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "no")
		}
	}
	own := map[string]string{"s3Url": "http://s3"}
	for name, setUp := range map[string]func(t *testing.T){
		"no cluster": func(t *testing.T) { t.Setenv("KUBECONFIG", ""); t.Setenv("KUBERNETES_SERVICE_HOST", "") },
		"forbidden":  func(t *testing.T) { inCluster(t, refused(http.StatusForbidden)) },
	} {
		t.Run(name, func(t *testing.T) {
			setUp(t)
			made, logged, err := opened(t, ObjectStore, own)
			require.NoError(t, err)
			require.Equal(t, own, made)
			require.Len(t, logged, 1)
			require.Equal(t, logrus.DebugLevel, logged[0].Level)
		})
	}
}

// TestOpenUnreachable: whether there are defaults is not known, so that no location goes
// on without them.
func TestOpenUnreachable(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	withCluster(t, server.URL)
	start := time.Now()
	for _, kind := range []string{ObjectStore, VolumeSnapshotter} {
		_, _, err := opened(t, kind, map[string]string{"s3Url": "http://s3"})
		require.ErrorContains(t, err, "cannot tell the cluster's default settings")
		require.ErrorContains(t, err, "connection refused")
	}
	require.Less(t, time.Since(start), 3*deadline)
	for _, status := range []int{http.StatusUnauthorized, http.StatusServiceUnavailable} {
		inCluster(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		_, _, err := opened(t, ObjectStore, map[string]string{"s3Url": "http://s3"})
		require.ErrorContains(t, err, "cannot tell the cluster's default settings", status)
	}
}
