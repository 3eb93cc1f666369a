package pluginserver

import (
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

func TestParseFlags(t *testing.T) {
	for _, test := range []struct {
		args  []string
		level logrus.Level
		csi   bool
	}{
		{nil, logrus.InfoLevel, false},
		{[]string{"--namespace", "velero", "--log-level", "debug"}, logrus.DebugLevel, false},
		{[]string{"--log-level=warning", "--features=A,EnableCSI"}, logrus.WarnLevel, true},
		{[]string{"--log-level", "loudest", "--no-such-flag", "--features", "EnableCSI"}, logrus.InfoLevel, true},
		{[]string{"--log-level=debug", "--log-level=error", "--features"}, logrus.ErrorLevel, false},
		{[]string{"--features="}, logrus.InfoLevel, false},
	} {
		flags := ParseFlags(test.args)
		require.Equal(t, test.level, flags.LogLevel, test.args)
		require.Equal(t, test.csi, flags.Has("EnableCSI"), test.args)
	}
}
