package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/minio/minio-go/v7/pkg/lifecycle"
	"github.com/stretchr/testify/require"
)

// TestLifecycleRules reads the rules for buckets, and wants each to do something.
func TestLifecycleRules(t *testing.T) {
	for _, b := range blocksOf(t, "json") {
		var rules lifecycle.Configuration
		require.NoError(t, json.Unmarshal([]byte(b.text), &rules), b.where)
		require.NotEmpty(t, rules.Rules, b.where)
		for _, r := range rules.Rules {
			require.Equal(t, "Enabled", r.Status, b.where)
			require.Positive(t, int(r.AbortIncompleteMultipartUpload.DaysAfterInitiation)+int(r.NoncurrentVersionExpiration.NoncurrentDays), b.where)
		}
	}
}

// TestCredentialsFiles has the AWS SDK read the credentials in the documents and
// in the example of a Secret.
func TestCredentialsFiles(t *testing.T) {
	texts := map[string]string{}
	for _, b := range blocksOf(t, "ini") {
		texts[b.where] = b.text
	}
	var secret struct{ StringData map[string]string }
	example := filepath.Join(root, "docs", "examples", "credentials.yaml")
	require.NoError(t, json.Unmarshal([]byte(objects(t, example, examples(t)[example])[0].text), &secret))
	texts[example] = secret.StringData["cloud"]
	for where, text := range texts {
		file := filepath.Join(t.TempDir(), strings.ReplaceAll(filepath.Base(where), ":", "-"))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		read, err := config.LoadSharedConfigProfile(t.Context(), "default", func(o *config.LoadSharedConfigOptions) {
			o.CredentialsFiles, o.ConfigFiles = []string{file}, []string{file}
		})
		require.NoError(t, err, where)
		require.True(t, read.Credentials.HasKeys(), where)
	}
}
