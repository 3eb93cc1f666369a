package settings_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/stretchr/testify/require"
)

func TestLooksSecret(t *testing.T) {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	for _, secret := range []string{
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", // the form of an AWS secret key
		base64.StdEncoding.EncodeToString(key), base64.URLEncoding.EncodeToString(key), hex.EncodeToString(key),
		"IQoJb3JpZ2luX2VjE" + strings.Repeat("aB3", 200) + "==",
		strings.Repeat("eyJhbGciOi", 20) + ".payload.signature",
		"AGE-SECRET-KEY-1" + strings.Repeat("Q", 58), "age-secret-key-pq-1" + strings.Repeat("q", 58),
	} {
		require.True(t, settings.LooksSecret(secret), secret)
		var p settings.Problems
		p.Add("region", secret, "a region")
		require.NotContains(t, p.Error(), secret)
	}
	for _, plain := range []string{
		"", "us-east-1", "https://s3.example.com", "/tmp/credentials/velero/cloud-credentials-cloud", "arn:aws:iam::123456789012:role/velero",
		"arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab", "1234abcd-12ab-34cd-56ef-1234567890ab",
		"/var/run/secrets/Backup1/credentials/Cloud", "a-bucket-name-of-some-length-for-the-backups", `{"team":"backup"}`, strings.Repeat("x", 300),
	} {
		require.False(t, settings.LooksSecret(plain), plain)
	}
}
