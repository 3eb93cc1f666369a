package objectstore

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/upload"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

func TestDefaultsAreValid(t *testing.T) {
	_, err := parse(nil)
	require.NoError(t, err)
}

// TestKeysOfVeleroPluginForAWS is a location as it was written for
// velero-plugin-for-aws 1.14.3, with every key it has.
func TestKeysOfVeleroPluginForAWS(t *testing.T) {
	for _, config := range []map[string]string{
		{
			"bucket": "bucket", "prefix": "prefix", "caCert": testCA(t), "region": "minio", "s3Url": "https://minio.minio.svc:9000/",
			"publicUrl": "https://minio.example.com", "s3ForcePathStyle": "true", "serverSideEncryption": "AES256",
			"signatureVersion": "1", "profile": "default", "credentialsFile": "/credentials/cloud",
			"insecureSkipTLSVerify": "true", "enableSharedConfig": "true", "tagging": "a=1&b=2", "checksumAlgorithm": "",
		},
		{"kmsKeyId": "arn:aws:kms:eu-west-1:1:key/2", "serverSideEncryption": "aws:kms", "checksumAlgorithm": "CRC32"},
		{"customerKeyEncryptionFile": "/key", "s3Url": "https://minio"},
		{"customerKeyEncryptionSecret": "secret/key", "resticRepoPrefix": "s3:http://x/y"},
	} {
		_, err := parse(config)
		require.NoError(t, err, "%v", config)
	}
}

func TestBadSettings(t *testing.T) {
	for _, c := range []struct {
		config map[string]string
		want   []string
	}{
		{map[string]string{"s3url": "http://x"}, []string{"s3url", "did you mean s3Url?"}},
		{map[string]string{"s3Url": "minio:9000"}, []string{"s3Url", "minio:9000", "http://HOST"}},
		{map[string]string{"s3Url": "ftp://minio"}, []string{"s3Url", "ftp://minio"}},
		{map[string]string{"s3Url": "http://"}, []string{"s3Url"}},
		{map[string]string{"s3Url": "http://minio/velero", "bucket": "velero"}, []string{"s3Url", "leave the bucket out"}},
		{map[string]string{"s3Url": "http://minio/some/path"}, []string{"s3Url", "a path is not possible"}},
		{map[string]string{"s3Url": "http://user:password@minio"}, []string{"s3Url", "credentials file"}},
		{map[string]string{"publicUrl": "minio"}, []string{"publicUrl", "minio"}},
		{map[string]string{"s3ForcePathStyle": "maybe"}, []string{"s3ForcePathStyle", "maybe", "true or false"}},
		{map[string]string{"s3ForcePathStyle": "true", "addressing": "virtual"}, []string{"s3ForcePathStyle", "addressing"}},
		{map[string]string{"addressing": "dns"}, []string{"addressing", "dns", "virtual"}},
		{map[string]string{"caCert": "no certificate", "s3Url": "https://minio"}, []string{"caCert", "holds no certificate"}},
		{map[string]string{"bucket": "b/b"}, []string{"bucket", "b/b"}},
		{map[string]string{"customerKeyEncryptionFile": "/key", "s3Url": "http://minio"}, []string{"plain http", "SSE-C"}},
		{map[string]string{"customerKeyEncryptionFile": "/key", "serverSideEncryption": "AES256"}, []string{"customerKeyEncryptionFile", "another encryption"}},
		{map[string]string{"customerKeyEncryptionFile": "/key", "customerKeyEncryptionSecret": "a/b"}, []string{"customerKeyEncryptionFile", "customerKeyEncryptionSecret"}},
		{map[string]string{"customerKeyEncryptionSecret": "noslash"}, []string{"customerKeyEncryptionSecret", "NAME/KEY"}},
		{map[string]string{"kmsKeyId": "k", "serverSideEncryption": "AES256"}, []string{"kmsKeyId", "AES256"}},
		{map[string]string{"kmsContext": `{"a":"b"}`}, []string{"kmsContext", "needs kmsKeyId"}},
		{map[string]string{"kmsContext": `{"a":1}`, "kmsKeyId": "k"}, []string{"kmsContext", "JSON object"}},
		{map[string]string{"serverSideEncryption": "des"}, []string{"serverSideEncryption", "des", "aws:kms"}},
		{map[string]string{"tagging": strings.Repeat("k=v&", 3)}, []string{"tagging"}},
		{map[string]string{"tagging": "a=" + strings.Repeat("v", 300)}, []string{"tagging", "10 tags"}},
		{map[string]string{"checksumAlgorithm": "MD4"}, []string{"checksumAlgorithm", "MD4", "CRC32C"}},
		{map[string]string{"storageClass": "DEEP_ARCHIVE"}, []string{"storageClass", "read at once"}},
		{map[string]string{"objectLockMode": "GOVERNANCE"}, []string{"objectLockMode", "objectLockRetention"}},
		{map[string]string{"objectLockRetention": "720h"}, []string{"objectLockMode", "objectLockRetention"}},
		{map[string]string{"objectLockMode": "GOVERNANCE", "objectLockRetention": "-1h"}, []string{"objectLockRetention"}},
		{map[string]string{"objectLockMode": "forever", "objectLockRetention": "1h"}, []string{"objectLockMode", "COMPLIANCE"}},
		{map[string]string{"partSize": "1MiB"}, []string{"partSize", "5MiB"}},
		{map[string]string{"partSize": "6GiB"}, []string{"partSize", "5GiB"}},
		{map[string]string{"uploadConcurrency": "0"}, []string{"uploadConcurrency"}},
		{map[string]string{"uploadMemoryLimit": "1KiB"}, []string{"uploadMemoryLimit"}},
		{map[string]string{"maxRetries": "1001"}, []string{"maxRetries"}},
		{map[string]string{"requestTimeout": "0s"}, []string{"requestTimeout", "1s"}},
		{map[string]string{"stallTimeout": "2"}, []string{"stallTimeout"}},
		{map[string]string{"proxyUrl": "proxy:3128"}, []string{"proxyUrl"}},
		{map[string]string{"anonymous": "true", "profile": "x"}, []string{"profile", "anonymous"}},
		{map[string]string{"externalId": "x"}, []string{"externalId", "roleArn"}},
		{map[string]string{"roleArn": "velero"}, []string{"roleArn", "arn:aws"}},
		{map[string]string{"expectedBucketOwner": "me"}, []string{"expectedBucketOwner", "12 digits"}},
		{map[string]string{"signatureVersion": "2"}, []string{"signatureVersion"}},
		{map[string]string{"listObjectsVersion": "3"}, []string{"listObjectsVersion"}},
		{map[string]string{"payloadSigning": "unsigned", "s3Url": "http://minio"}, []string{"payloadSigning", "https"}},
		{map[string]string{"accelerate": "true", "s3Url": "https://minio"}, []string{"accelerate"}},
		{map[string]string{"dualStack": "true", "s3Url": "https://minio"}, []string{"dualStack"}},
		{map[string]string{"bypassGovernanceRetention": "true"}, []string{"bypassGovernanceRetention", "deleteVersions"}},
	} {
		_, err := parse(c.config)
		require.Error(t, err, "%v", c.config)
		for _, want := range c.want {
			require.ErrorContains(t, err, want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Open(t.Context(), testLog(t), map[string]string{"regoin": "x", "s3Url": "y", "partSize": "1B"})
	require.ErrorContains(t, err, "did you mean region?")
	require.ErrorContains(t, err, "s3Url")
	require.ErrorContains(t, err, "partSize")
}

func TestProxyPasswordIsNoText(t *testing.T) {
	for _, proxy := range []string{"http://user:the-password@proxy:3128", "wrong://user:the-password@proxy"} {
		s, err := parse(map[string]string{"proxyUrl": proxy})
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %v", s, s, s, err), "the-password")
	}
}

func testCA(t testing.TB) string {
	text, err := os.ReadFile(filepath.Join("testdata", "ca.crt"))
	require.NoError(t, err)
	return string(text)
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		config map[string]string
		url    string
		lookup minio.BucketLookupType
		region string
	}{
		{map[string]string{"region": "eu-west-1", "bucket": "b-b"}, "https://b-b.s3.eu-west-1.amazonaws.com/key", minio.BucketLookupAuto, "eu-west-1"},
		{map[string]string{"region": "eu-west-1", "bucket": "b.b"}, "https://s3.eu-west-1.amazonaws.com/b.b/key", minio.BucketLookupPath, "eu-west-1"},
		{map[string]string{"region": "cn-north-1", "bucket": "b-b"}, "https://b-b.s3.cn-north-1.amazonaws.com.cn/key", minio.BucketLookupAuto, "cn-north-1"},
		{map[string]string{"region": "eu-west-1", "bucket": "b-b", "dualStack": "true"}, "https://b-b.s3.dualstack.eu-west-1.amazonaws.com/key", minio.BucketLookupAuto, "eu-west-1"},
		{map[string]string{"region": "eu-west-1", "bucket": "b-b", "accelerate": "true"}, "https://b-b.s3-accelerate.amazonaws.com/key", minio.BucketLookupAuto, "eu-west-1"},
		{map[string]string{"s3Url": "https://s3.eu-south-2.amazonaws.com", "bucket": "b-b"}, "https://b-b.s3.eu-south-2.amazonaws.com/key", minio.BucketLookupAuto, "eu-south-2"},
		{map[string]string{"s3Url": "http://minio:9000/", "bucket": "b-b"}, "http://minio:9000/b-b/key", minio.BucketLookupAuto, "us-east-1"},
		{map[string]string{"s3Url": "http://minio:9000", "bucket": "b-b", "addressing": "virtual"}, "http://b-b.minio:9000/key", minio.BucketLookupDNS, "us-east-1"},
		{map[string]string{"s3Url": "https://s3.eu-west-1.amazonaws.com", "bucket": "b-b", "s3ForcePathStyle": "true"}, "https://s3.eu-west-1.amazonaws.com/b-b/key", minio.BucketLookupPath, "eu-west-1"},
		{map[string]string{"s3Url": "https://s3.eu-central-2.wasabisys.com", "bucket": "b-b"}, "https://s3.eu-central-2.wasabisys.com/b-b/key", minio.BucketLookupAuto, "eu-central-2"},
		{map[string]string{"s3Url": "https://s3.us-west-004.backblazeb2.com", "bucket": "b-b"}, "https://s3.us-west-004.backblazeb2.com/b-b/key", minio.BucketLookupAuto, "us-west-004"},
		{map[string]string{"s3Url": "https://s3.fr-par.scw.cloud", "bucket": "b-b"}, "https://s3.fr-par.scw.cloud/b-b/key", minio.BucketLookupAuto, "fr-par"},
		{map[string]string{"s3Url": "https://s3.gra.io.cloud.ovh.net", "bucket": "b-b"}, "https://s3.gra.io.cloud.ovh.net/b-b/key", minio.BucketLookupAuto, "gra"},
		{map[string]string{"s3Url": "https://abc.r2.cloudflarestorage.com", "bucket": "b-b"}, "https://abc.r2.cloudflarestorage.com/b-b/key", minio.BucketLookupAuto, "auto"},
		{map[string]string{"s3Url": "https://storage.googleapis.com", "bucket": "b-b"}, "https://b-b.storage.googleapis.com/key", minio.BucketLookupAuto, "auto"},
		{map[string]string{"s3Url": "https://cos.ap-guangzhou.myqcloud.com", "bucket": "b-b", "region": "ap-guangzhou"}, "https://b-b.cos.ap-guangzhou.myqcloud.com/key", minio.BucketLookupDNS, "ap-guangzhou"},
	} {
		config := map[string]string{"credentialsFile": credentialsFile(t, "ACCESS", "SECRETSECRET")}
		maps.Copy(config, c.config)
		s, err := Open(t.Context(), testLog(t), config)
		require.NoError(t, err, "%v", c.config)
		require.Equal(t, c.lookup, s.settings.Endpoint().Lookup, "%v", c.config)
		require.Equal(t, c.region, s.region, "%v", c.config)
		signed, err := s.CreateSignedURL(t.Context(), c.config["bucket"], "key", time.Hour)
		require.NoError(t, err)
		address, _, _ := strings.Cut(signed, "?")
		require.Equal(t, c.url, address)
	}
}

func TestUnknownAWSRegion(t *testing.T) {
	_, err := Open(t.Context(), testLog(t), map[string]string{"region": "mx-west-9", "credentialsFile": credentialsFile(t, "ACCESS", "SECRETSECRET")})
	require.Equal(t, s3err.Region, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "mx-west-9")
}

// FuzzSettings: what is accepted are keys that there are, and whole.
func FuzzSettings(f *testing.F) {
	keys := map[string]bool{}
	for _, row := range settings.Rows(Default()) {
		keys[row.Key] = true
	}
	f.Add("regoin", "eu", "partSize", "16MiB")
	f.Add("region", "eu", "uploadMemoryLimit", "1MiB")
	f.Add("s3Url", "http://minio:9000", "partSize", "16MiB")
	f.Add("tagging", "a=b", "kmsContext", `{"a":"b"}`)
	f.Add("proxyUrl", "http://u:p@h", "caCert", "-----BEGIN")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		s, err := parse(map[string]string{key1: value1, key2: value2})
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.True(t, keys[key1] && keys[key2], "%q and %q were accepted", key1, key2)
		if s.S3URL != "" {
			require.NotEmpty(t, s.Endpoint().URL.Host)
		}
		require.GreaterOrEqual(t, s.UploadMemoryLimit, upload.MinPartSize)
	})
}
