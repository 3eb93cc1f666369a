package account

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/settings"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

func problems(config map[string]string) (Settings, string) {
	s := Default()
	if err := settings.Decode(config, &s); err != nil {
		return s, err.Error()
	}
	return s, ""
}

func TestRefusedAddresses(t *testing.T) {
	for _, c := range []struct{ bucket, s3Url, want string }{
		{"backups", "https://backups.s3.eu-west-1.amazonaws.com", "the address without the bucket: https://s3.eu-west-1.amazonaws.com"},
		{"backups", "https://backups.s3-eu-west-1.amazonaws.com/", "https://s3-eu-west-1.amazonaws.com"},
		{"backups", "https://backups.minio.example.com:9000", "https://minio.example.com:9000"},
		{"backups", "https://backups.nyc3.digitaloceanspaces.com", "https://nyc3.digitaloceanspaces.com"},
		{"my.backups", "https://my.backups.s3.example.com", "https://s3.example.com"},
		{"backups", "https://minio.example.com:9000", ""},
		{"minio", "https://minio.example.com:9000", ""},
		{"velero", "http://velero.minio.svc:9000", ""},
		{"velero", "http://velero.storage.svc.cluster.local", ""},
		{"arn:aws:s3:us-east-1:123456789012:accesspoint/backups", "", "-s3alias"},
		{"backups-abcdefghijklmnopqrstuvwxyz0123456789-s3alias", "", ""},
	} {
		_, problem := problems(map[string]string{"bucket": c.bucket, "s3Url": c.s3Url})
		require.Contains(t, problem, c.want, "%+v", c)
		require.Equal(t, c.want == "", problem == "", "%+v: %s", c, problem)
	}
}

// TestBucketInHost: a host may have the bucket's name as a word of its own, which who sets
// addressing knows. The older setting is in many configs that were taken over.
func TestBucketInHost(t *testing.T) {
	for _, key := range []string{"s3Url", "publicUrl"} {
		for _, c := range []struct {
			more, value string
			want        string
		}{
			{"addressing", "path", ""},
			{"addressing", "virtual", "set addressing: path"},
			{"s3ForcePathStyle", "true", "set addressing: path"},
		} {
			_, problem := problems(map[string]string{"bucket": "velero", key: "https://velero.minio.example.com", c.more: c.value})
			require.Contains(t, problem, c.want)
			require.Equal(t, c.want == "", problem == "", "%+v: %s", c, problem)
		}
	}
}

// TestSchemes writes the scheme as nobody does, with a key that must not travel
// unencrypted.
func TestSchemes(t *testing.T) {
	for address, plain := range map[string]bool{"http://minio": true, "HTTP://minio": true, "hTTp://minio": true, "https://minio": false, "HTTPS://minio": false, "": false} {
		s, problem := problems(map[string]string{"s3Url": address, "customerKeyEncryptionFile": "/key"})
		require.Equal(t, plain, strings.Contains(problem, "is plain http"), "%s: %s", address, problem)
		require.Equal(t, plain, s.PlainHTTP())
	}
	_, problem := problems(map[string]string{"s3Url": "HTTP://minio", "caCert": testCA(t)})
	require.Contains(t, problem, "caCert: has no meaning")
}

func TestSpaceAround(t *testing.T) {
	s, problem := problems(map[string]string{"region": " us-east-1", "s3Url": "https://minio:9000\n", "profile": "x "})
	require.Empty(t, problem)
	region, _, err := s.FindRegion(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "us-east-1", region)
	require.Equal(t, "https://minio:9000", s.Endpoint().String())
	require.Equal(t, "x", s.Profile)
}

// TestPartitions has regions of every partition of AWS, and of others.
func TestPartitions(t *testing.T) {
	for region, suffix := range map[string]string{
		"eu-west-1": "amazonaws.com", "us-gov-west-1": "amazonaws.com", "cn-north-1": "amazonaws.com.cn", "eusc-de-east-1": "amazonaws.eu",
		"us-iso-east-1": "c2s.ic.gov", "us-isob-east-1": "sc2s.sgov.gov", "mx-central-1": "amazonaws.com", "": "amazonaws.com", "fr-par": "amazonaws.com",
	} {
		require.Equal(t, suffix, awsSuffix(region), region)
	}
	for region, sts := range map[string]string{"eusc-de-east-1": "eusc-de-east-1", "fr-par": DefaultRegion, "auto": DefaultRegion, "us-west-004": DefaultRegion, "eu-west-1": "eu-west-1"} {
		require.Equal(t, sts, stsRegion(region))
	}
	s := Settings{Region: "eusc-de-east-1", Bucket: "backups"}
	require.Equal(t, "https://s3.eusc-de-east-1.amazonaws.eu", s.Endpoint().String())
	require.Equal(t, minio.BucketLookupDNS, s.Endpoint().Lookup)
	require.True(t, s.Endpoint().AWS())
	named := Settings{S3URL: "https://s3.eusc-de-east-1.amazonaws.eu"}
	region, _, err := named.FindRegion(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "eusc-de-east-1", region)
	require.False(t, (&Settings{S3URL: "https://s3.eu-central-1.example.com"}).Endpoint().AWS())
	require.True(t, (&Settings{}).Endpoint().AWS())
}

// TestDamagedCertificates has a bundle of which a part cannot be used. x509 drops
// such certificates in silence.
func TestDamagedCertificates(t *testing.T) {
	good, other := testCA(t), otherCA(t)
	block, _ := pem.Decode([]byte(good))
	serial := bytes.Index(block.Bytes, []byte{0xa0, 3, 2, 1, 2, 2}) // version 3, then the serial number
	require.Positive(t, serial)
	negative := append([]byte{}, block.Bytes...)
	negative[serial+7] |= 0x80
	for _, c := range []struct{ text, want string }{
		{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: negative})), "negative serial number"},
		{strings.Replace(good, "MII", "M%I", 1), "it is damaged"},
		{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("nothing")})), "x509"},
		{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})), "it is a PRIVATE KEY"},
		{"-----BEGIN CERTIFICATE-----\nMIIB", "it is damaged"},
	} {
		s, problem := problems(map[string]string{"caCert": other + c.text})
		require.Empty(t, problem, "one that can be used is enough")
		trust := s.Trust()
		require.Len(t, trust.Rejected, 1)
		require.Contains(t, trust.Rejected[0], "block 2 of 2 in caCert")
		require.Contains(t, trust.Rejected[0], c.want)
		require.NotNil(t, trust.Pool)
		_, problem = problems(map[string]string{"caCert": c.text})
		require.Contains(t, problem, "holds no certificate")
		require.Contains(t, problem, c.want)
	}
}

func otherCA(t *testing.T) string {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return string(certificateOf(server))
}

// TestBundleThatChanges wants a new version when AWS_CA_BUNDLE or its file is
// another, so that connections made by the old one are not used any more.
func TestBundleThatChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bundle")
	t.Setenv("AWS_CA_BUNDLE", path)
	s := &Settings{}
	seen := map[string]bool{}
	for i, content := range []string{testCA(t), otherCA(t), "none", ""} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		require.NoError(t, os.Chtimes(path, time.Time{}, time.Unix(int64(i), 0)))
		trust := s.Trust()
		require.Equal(t, i < 2, trust.Pool != nil)
		require.False(t, seen[trust.Version])
		require.Equal(t, trust.Version, s.Trust().Version)
		seen[trust.Version] = true
	}
	require.NoError(t, os.Remove(path))
	require.False(t, seen[s.Trust().Version])
}

func TestProxySecrets(t *testing.T) {
	s := Settings{ProxyURL: "http://user:p%40ssword@proxy:3128"}
	require.Equal(t, []string{"http://user:p%40ssword@proxy:3128", "p@ssword", "p%40ssword", base64.StdEncoding.EncodeToString([]byte("user:p@ssword"))}, s.ProxySecrets())
}

// TestRegionOfTheBucket asks a server that answers for AWS.
func TestRegionOfTheBucket(t *testing.T) {
	for said, want := range map[string]string{"eu-central-1": "", "": "and no region", "x\x1b y": "and no region"} {
		via := answering(func(*http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusForbidden, Status: "403 Forbidden", Header: http.Header{"X-Amz-Bucket-Region": {said}}, Body: http.NoBody}
		})
		region, source, err := (&Settings{Bucket: "backups"}).FindRegion(t.Context(), via)
		if want != "" {
			require.ErrorContains(t, err, want)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, said, region)
		require.Equal(t, "AWS says so", source)
	}
}

type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) { return a(req), nil }
