package account

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireSecret demands an error that does not hold the secret, however it is
// printed.
func requireSecret(t *testing.T, secret string, err error) {
	t.Helper()
	require.Error(t, err)
	for _, verb := range []string{"%s", "%v", "%+v", "%q", "%#v"} {
		require.NotContains(t, fmt.Sprintf(verb, err), secret)
	}
}

// TestUnreadableCredentials has files that hold a secret and are no credentials.
func TestUnreadableCredentials(t *testing.T) {
	withoutEnvironment(t)
	for _, form := range []string{
		"%s", "%s\n", "[default]\naws_access_key_id = A\naws_secret_access_key %s\n", "[default\naws_secret_access_key = %s\n",
		"[default]\n= %s\n", "[%s]\naws_access_key_id = A\n", "[default]\naws_access_key_id = \n  aws_secret_access_key = %s\n",
		"aws_access_key_id = A\naws_secret_access_key = %s\n", `{"AccessKeyId":"A","SecretAccessKey":"%s"}`, "[default]\nrole_arn = %s\n",
		"[default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = %s\n", "[default]\naws_session_token = %s\n",
		"[default]\nrole_arn = arn:aws:iam::123456789012:role/x\ncredential_source = %s\n", "\x00%s\xff", "[default]\nregion = x\nsso_session = %s\n",
		"[default]\ncredential_process = /bin/echo %s\n", "[default]\ncredential_process = /bin/sh -c 'echo {\\\"x\\\": %s}'\n",
		"[default]\ncredential_process = /bin/sh -c 'echo %s; exit 3'\n", "[default]\ncredential_process = /no/such/program %s\n",
		"[default]\nsso_start_url = https://%s\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = x\n",
		"[default]\nservices = %s\naws_access_key_id = A\n",
	} {
		secret := newSecret()
		path := filepath.Join(t.TempDir(), "cloud")
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, form, secret), 0o600))
		_, err := openWith(t, map[string]string{"credentialsFile": path})
		requireSecret(t, secret, err)
	}
}

// TestServiceThatQuotesTokens has services for credentials that answer with the
// tokens they were sent.
func TestServiceThatQuotesTokens(t *testing.T) {
	withoutEnvironment(t)
	secret := newSecret()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(secret), 0o600))
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"code":"%[1]s","message":"%[1]s %[2]s"}`, r.Header.Get("Authorization"), r.Form.Get("WebIdentityToken"))
	})
	t.Run("pod", func(t *testing.T) {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token)
		_, err := openWith(t, nil)
		requireSecret(t, secret, err)
	})
	t.Run("web identity", func(t *testing.T) {
		t.Setenv("AWS_ENDPOINT_URL_STS", serve(t, func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>%s</Message></Error></ErrorResponse>`, r.Form.Get("WebIdentityToken"))
		}))
		t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
		t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/irsa")
		_, err := openWith(t, nil)
		require.ErrorContains(t, err, "InvalidIdentityToken")
		requireSecret(t, secret, err)
	})
}
