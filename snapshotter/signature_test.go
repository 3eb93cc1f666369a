package snapshotter

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/longshore-dev/velero-plugin/internal/kube"
	"github.com/longshore-dev/velero-plugin/snapshotter/internal/ids"
)

const signingKey = "9b0f5a7c2d4e61839b0f5a7c2d4e6183"

func TestSigningKeys(t *testing.T) {
	const id = "csi://d/h?v=2&size=1Gi&mode=Filesystem&access=ReadWriteOnce"
	parsed, err := ids.ParseSnapshotID(id)
	require.NoError(t, err)
	keys, err := ids.ParseKeys([]byte(signingKey))
	require.NoError(t, err)

	s := withSecret(t, "longshore/keys", map[string][]byte{"keys": []byte(signingKey + "\n"), "short": []byte("password")})
	got, err := s.signingKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, keys.Sign(parsed), got.Sign(parsed))
	read, err := s.parseSnapshotID(t.Context(), keys.Sign(parsed))
	require.NoError(t, err)
	require.Equal(t, parsed, read)
	s.settings.RequireSignature = true
	_, err = s.parseSnapshotID(t.Context(), id)
	require.ErrorContains(t, err, "requireSignature")

	for secret, reason := range map[string]string{
		"longshore/short": "has 8 characters",
		"longshore/none":  `Secret velero/longshore: it has no key "none"`,
		"gone/keys":       "signingKeySecret): get Secret velero/gone",
	} {
		s.settings.SigningKeySecret = secret
		_, err := s.parseSnapshotID(t.Context(), keys.Sign(parsed))
		require.ErrorContains(t, err, reason)
		require.NotContains(t, err.Error(), "password")
	}
	s.settings.SigningKeySecret = ""
	got, err = s.signingKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, id, got.Sign(parsed))
}

// withSecret is a Snapshotter in a cluster that has the Secret velero/longshore.
func withSecret(t *testing.T, setting string, data map[string][]byte) *Snapshotter {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/velero/secrets/longshore" {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
			return
		}
		_ = json.NewEncoder(w).Encode(corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, Data: data})
	}))
	t.Cleanup(api.Close)
	client, err := kube.New(&rest.Config{Host: api.URL}, kube.Options{QPS: 100, Burst: 100})
	require.NoError(t, err)
	s, err := OpenOn(client, "velero", logrus.New(), map[string]string{"signingKeySecret": setting})
	require.NoError(t, err)
	return s
}
