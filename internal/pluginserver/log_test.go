package pluginserver

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

func TestLoggerWritesWhatVeleroReads(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, logrus.InfoLevel)
	log.Debug("below the level")
	require.Empty(t, out.String())

	log.WithField("bucket", "b").Warn("careful")
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "careful", line["@message"])
	require.Equal(t, "warn", line["@level"])
	require.Equal(t, "b", line["bucket"])
	require.Equal(t, "plugin", line["@logSourceSetBy"])
	require.Contains(t, line["logSource"], "internal/pluginserver/log_test.go:")
	require.NotContains(t, line, "time")
}
