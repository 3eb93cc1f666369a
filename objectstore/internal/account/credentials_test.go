package account

import (
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/stretchr/testify/require"
)

// withoutEnvironment hides what the machine offers as credentials.
func withoutEnvironment(t *testing.T) {
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "AWS_") && name != "AWS_CA_BUNDLE" {
			t.Setenv(name, "")
			require.NoError(t, os.Unsetenv(name))
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestNoCredentialsIsAnError(t *testing.T) {
	withoutEnvironment(t)
	within(t, 40*time.Second, func() {
		_, err := openWith(t, nil)
		require.Equal(t, s3err.Credentials, s3err.KindOf(err), "%v", err)
		require.ErrorContains(t, err, "default chain")
	})
	_, err := openWith(t, map[string]string{"credentialsFile": "/no/such/file"})
	require.Equal(t, s3err.Credentials, s3err.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "/no/such/file")
	_, err = openWith(t, map[string]string{"credentialsFile": credentialsFile(t, "A", "B"), "profile": "other"})
	require.ErrorContains(t, err, "no profile [other]; it has [default]")
	_, err = openWith(t, map[string]string{"anonymous": "true"})
	require.NoError(t, err)
}

func TestWhereCredentialsComeFrom(t *testing.T) {
	withoutEnvironment(t)
	own := credentialsFile(t, "OWN", "own-secret-key")
	installed := credentialsFile(t, "INSTALLED", "installed-secret-key")
	t.Setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "environment-secret")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token")
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/other")
	s, err := openWith(t, nil)
	require.NoError(t, err)
	require.Equal(t, "ENVIRONMENT", accessKeyOf(t, s))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", installed)
	s, err = openWith(t, nil)
	require.NoError(t, err)
	require.Equal(t, "INSTALLED", accessKeyOf(t, s))
	s, err = openWith(t, map[string]string{"credentialsFile": own})
	require.NoError(t, err)
	require.Equal(t, "OWN", accessKeyOf(t, s))
	require.Equal(t, "arn:aws:iam::123456789012:role/other", os.Getenv("AWS_ROLE_ARN"), "the environment stays as it is")
}

func TestProfilesAndProcesses(t *testing.T) {
	withoutEnvironment(t)
	path := filepath.Join(t.TempDir(), "cloud")
	text := `[default]
aws_access_key_id = DEFAULT
aws_secret_access_key = default-secret
[other]
aws_access_key_id = OTHER
aws_secret_access_key = other-secret
[process]
credential_process = /bin/sh -c "echo '{\"Version\":1,\"AccessKeyId\":\"PROCESS\",\"SecretAccessKey\":\"process-secret\"}'"
`
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	for profile, want := range map[string]string{"": "DEFAULT", "other": "OTHER", "process": "PROCESS"} {
		config := map[string]string{"credentialsFile": path}
		if profile != "" {
			config["profile"] = profile
		}
		s, err := openWith(t, config)
		require.NoError(t, err)
		require.Equal(t, want, accessKeyOf(t, s))
	}
}

// fakeSTS answers AssumeRole and AssumeRoleWithWebIdentity.
func fakeSTS(t testing.TB, lifetime time.Duration) (address string, calls *atomic.Int32, last *atomic.Value) {
	calls, last = &atomic.Int32{}, &atomic.Value{}
	address = serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		last.Store(string(body))
		action := "AssumeRole"
		if strings.Contains(string(body), "AssumeRoleWithWebIdentity") {
			action = "AssumeRoleWithWebIdentity"
		}
		_, _ = fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials>
<AccessKeyId>ASSUMED%[2]d</AccessKeyId><SecretAccessKey>assumed-secret</SecretAccessKey><SessionToken>the-session-token</SessionToken>
<Expiration>%[3]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`, action, calls.Add(1), time.Now().Add(lifetime).UTC().Format(time.RFC3339))
	})
	return address, calls, last
}

func TestAssumedRoles(t *testing.T) {
	withoutEnvironment(t)
	address, calls, last := fakeSTS(t, time.Hour)
	t.Setenv("AWS_ENDPOINT_URL_STS", address)
	source := credentialsFile(t, "SOURCE", "source-secret-key")
	s, err := openWith(t, map[string]string{"credentialsFile": source, "roleArn": "arn:aws:iam::123456789012:role/velero", "externalId": "the-id", "sessionName": "me"})
	require.NoError(t, err)
	require.Equal(t, "ASSUMED1", accessKeyOf(t, s))
	require.Contains(t, last.Load(), "ExternalId=the-id")
	require.Contains(t, last.Load(), "RoleSessionName=me")
	for range 5 {
		accessKeyOf(t, s)
	}
	require.EqualValues(t, 1, calls.Load(), "credentials are kept until they near their end")

	path := filepath.Join(t.TempDir(), "cloud")
	text := "[base]\naws_access_key_id = BASE\naws_secret_access_key = base-secret\n[default]\nrole_arn = arn:aws:iam::123456789012:role/velero\nsource_profile = base\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s, err = openWith(t, map[string]string{"credentialsFile": path})
	require.NoError(t, err)
	require.Equal(t, "ASSUMED2", accessKeyOf(t, s))
}

func TestWebIdentity(t *testing.T) {
	withoutEnvironment(t)
	address, _, last := fakeSTS(t, time.Hour)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("the.web.token"), 0o600))
	t.Setenv("AWS_ENDPOINT_URL_STS", address)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/irsa")
	s, err := openWith(t, nil)
	require.NoError(t, err)
	require.Equal(t, "ASSUMED1", accessKeyOf(t, s))
	require.Contains(t, last.Load(), "WebIdentityToken=the.web.token")
}

func TestPodIdentity(t *testing.T) {
	withoutEnvironment(t)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "the-pod-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"AccessKeyId": "POD", "SecretAccessKey": "pod-secret", "Token": "session", "Expiration": time.Now().Add(time.Hour)})
	})
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("the-pod-token"), 0o600))
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token)
	s, err := openWith(t, map[string]string{"proxyUrl": "http://127.0.0.1:1"})
	require.NoError(t, err, "the pod's own services are not reached by the proxy")
	require.Equal(t, "POD", accessKeyOf(t, s))
}

// giveKeys answers with credentials in the form that containers and instances
// are given.
func giveKeys(w http.ResponseWriter, access, secret string) {
	giveKeysFor(w, access, secret, time.Hour)
}

func giveKeysFor(w http.ResponseWriter, access, secret string, lifetime time.Duration) {
	_ = json.NewEncoder(w).Encode(map[string]any{
		"Code": "Success", "AccessKeyId": access, "SecretAccessKey": secret, "Token": "the-service-session", "Expiration": time.Now().Add(lifetime).UTC().Format(time.RFC3339),
	})
}

func TestContainer(t *testing.T) {
	withoutEnvironment(t)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the-container-token")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "the-container-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		giveKeys(w, "CONTAINER", "container-secret")
	}))
	s, err := openWith(t, nil)
	require.NoError(t, err)
	require.Equal(t, "CONTAINER", accessKeyOf(t, s))
}

// TestInstance has the metadata service of a machine in the cloud, version 2,
// which wants a token.
func TestInstance(t *testing.T) {
	withoutEnvironment(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	const role = "/latest/meta-data/iam/security-credentials/"
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "600")
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			_, _ = io.WriteString(w, "the-metadata-token")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "the-metadata-token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == role:
			_, _ = io.WriteString(w, "the-role")
		case r.URL.Path == role+"the-role":
			giveKeys(w, "INSTANCE", "instance-secret")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	s, err := openWith(t, map[string]string{"proxyUrl": "http://127.0.0.1:1"})
	require.NoError(t, err)
	require.Equal(t, "INSTANCE", accessKeyOf(t, s))
}

// TestSSO has somebody who has signed in with the AWS command line.
func TestSSO(t *testing.T) {
	withoutEnvironment(t)
	cache := filepath.Join(os.Getenv("HOME"), ".aws", "sso", "cache")
	require.NoError(t, os.MkdirAll(cache, 0o700))
	name := fmt.Sprintf("%x.json", sha1.Sum([]byte("company")))
	token := fmt.Sprintf(`{"accessToken":"the-sso-access-token","expiresAt":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	require.NoError(t, os.WriteFile(filepath.Join(cache, name), []byte(token), 0o600))
	t.Setenv("AWS_ENDPOINT_URL_SSO", serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/federation/credentials" || r.Header.Get("X-Amz-Sso_bearer_token") != "the-sso-access-token" || r.URL.Query().Get("role_name") != "backup" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintf(w, `{"roleCredentials":{"accessKeyId":"SSO","secretAccessKey":"sso-secret-key","sessionToken":"sso-session-token","expiration":%d}}`, time.Now().Add(time.Hour).UnixMilli())
	}))
	path := filepath.Join(t.TempDir(), "cloud")
	text := "[sso-session company]\nsso_region = us-east-1\nsso_start_url = https://company.awsapps.com/start\n" +
		"[default]\nsso_session = company\nsso_account_id = 123456789012\nsso_role_name = backup\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s, err := openWith(t, map[string]string{"credentialsFile": path})
	require.NoError(t, err)
	require.Equal(t, "SSO", accessKeyOf(t, s))
}

func TestShortLivedCredentialsAreRenewed(t *testing.T) {
	withoutEnvironment(t)
	address, calls, _ := fakeSTS(t, 2*time.Second)
	t.Setenv("AWS_ENDPOINT_URL_STS", address)
	s, err := openWith(t, map[string]string{"credentialsFile": credentialsFile(t, "SOURCE", "source-secret-key"), "roleArn": "arn:aws:iam::123456789012:role/velero"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return accessKeyOf(t, s) == "ASSUMED2" }, 10*time.Second, 50*time.Millisecond)
	require.EqualValues(t, 2, calls.Load())
}
