package s3err

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
)

func silent() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

func TestRedact(t *testing.T) {
	s := &Secrets{}
	require.Equal(t, "nothing is known", s.Redact("nothing is known"))
	s.Add("short", "a-secret-key", "a-secret-key-that-goes-on", `a"quoted\secret`)
	require.Equal(t, "short **redacted** **redacted**", s.Redact("short a-secret-key a-secret-key-that-goes-on"))
	require.NotContains(t, s.Redact(fmt.Sprintf("%q", `a"quoted\secret`)), "secret")
	require.Equal(t, "x **redacted**… y **redacted**… z", s.Redact("x a-sec… y a-secret-k… z"), "what was shortened within a secret")
}

// TestLog logs a secret wherever a line of a log may hold one.
func TestLog(t *testing.T) {
	const secret = "a-secret-key"
	target, lines := logtest.NewNullLogger()
	target.SetLevel(logrus.InfoLevel)
	s := &Secrets{}
	log := s.Log(target.WithField("controller", "backup"))
	s.Add(secret)
	log.WithFields(logrus.Fields{
		"error": fmt.Errorf("quoted: %w", &url.Error{Op: "Get", URL: "https://x/?X-Amz-Signature=" + secret, Err: errors.New(secret)}),
		"text":  secret, "list": []string{secret}, "pointer": &struct{ Key string }{secret}, "bytes": 7, "whole": true,
		"lines": "a\nb\x1b[31m", "long": strings.Repeat("x", 10_000),
	}).Warn("the key is " + secret)
	log.Debug("not asked for")
	require.Len(t, lines.AllEntries(), 1)
	entry := lines.LastEntry()
	require.Equal(t, logrus.WarnLevel, entry.Level)
	require.WithinDuration(t, time.Now(), entry.Time, time.Minute)
	require.Equal(t, "the key is **redacted**", entry.Message)
	require.Equal(t, "backup", entry.Data["controller"])
	require.Equal(t, 7, entry.Data["bytes"])
	require.Equal(t, true, entry.Data["whole"])
	require.Equal(t, "a b[31m", entry.Data["lines"])
	require.Less(t, len(entry.Data["long"].(string)), 3000)
	text, err := entry.String()
	require.NoError(t, err)
	require.NotContains(t, text, secret)
	require.NotContains(t, text, "X-Amz-Signature")
}
