package snapshotter

import (
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/settings"
)

func TestSettings(t *testing.T) {
	s := DefaultSettings()
	require.NoError(t, settings.Decode(map[string]string{
		"snapshotClass": "a", "snapshotClass.ebs.csi.aws.com": "b", "storageClass.old": "new", "storageClass.": "plain", "drivers": "d,e",
		"driver.a": "b", "snapshotSecrets": "ns/a, ns/b", "signingKeySecret": "longshore/keys", "requireSignature": "true",
		"waitFor": "ready", "snapshotTimeout": "30m", "sweepAfter": "2h", "credentialsFile": "/credentials/cloud",
	}, &s))
	require.Equal(t, map[string]string{"ebs.csi.aws.com": "b"}, s.SnapshotClasses)
	require.Equal(t, map[string]string{"old": "new"}, s.StorageClasses)
	require.Equal(t, "plain", s.ClasslessStorage)
	require.Equal(t, map[string]string{"a": "b"}, s.RenamedDrivers)
	require.Equal(t, []string{"ns/a", "ns/b"}, s.SnapshotSecrets)
	require.Equal(t, []string{"d", "e"}, s.Drivers)
	require.Equal(t, 30*time.Minute, s.SnapshotTimeout)
	require.Contains(t, settings.Table(settings.Rows(DefaultSettings())), "snapshotTimeout")
}

func TestWrongSettings(t *testing.T) {
	_, err := Open(t.Context(), logrus.New(), map[string]string{
		"waitFor": "later", "groups": "always", "snapshotTimeout": "0s", "restoreTimeout": "1m0", "sweepAfter": "-9m", "kubeQPS": "0", "kubeBurst": "0", "snapshotClas": "x",
		"driver.a": "a", "snapshotSecrets": "ns/a,b", "signingKeySecret": "longshore", "snapshotClass.": "x",
	})
	for _, words := range []string{
		`waitFor: "later"`, "groups: \"always\" is not accepted; it takes", "snapshotTimeout", "restoreTimeout", "sweepAfter", "kubeQPS: 0", "kubeBurst: 0", "did you mean snapshotClass",
		`driver.a: "a"`, `snapshotSecrets: "b"`, `signingKeySecret: "longshore"`, "snapshotClass.: unknown",
	} {
		require.ErrorContains(t, err, words)
	}
	_, err = Open(t.Context(), logrus.New(), map[string]string{"requireSignature": "true"})
	require.ErrorContains(t, err, "without signingKeySecret")
}
