package objectstore

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newSecret has the form of an AWS secret key.
func newSecret() string {
	for {
		var random [30]byte
		_, _ = rand.Read(random[:])
		secret := base64.StdEncoding.EncodeToString(random[:])
		if strings.Trim(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != secret && secret[0] != '/' && !strings.Contains(secret, "//") {
			remember(secret)
			return secret
		}
	}
}

// requireSecret demands an error that does not hold the secret, however it is
// printed.
func requireSecret(t *testing.T, secret string, err error) {
	t.Helper()
	require.Error(t, err)
	for _, verb := range []string{"%s", "%v", "%+v", "%q", "%#v"} {
		requireWithout(t, secret, fmt.Sprintf(verb, err))
	}
}

func requireWithout(t *testing.T, secret, text string) {
	t.Helper()
	for _, form := range formsOf(secret) {
		require.NotContains(t, text, form)
	}
}

// TestSecretInWrongKey puts a secret under every key there is, and some there
// are not.
func TestSecretInWrongKey(t *testing.T) {
	withoutEnvironment(t)
	keys := []string{"secretKey", "aws_secret_access_key", "password", "regoin"}
	for field := range slices.Values(reflect.VisibleFields(reflect.TypeFor[Settings]())) {
		if key := field.Tag.Get("key"); key != "" && key != "bucket" && key != "prefix" {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		secret := newSecret()
		config := map[string]string{"s3Url": "http://127.0.0.1:1", "maxRetries": "0", "credentialsFile": credentialsFile(t, "ACCESS", newSecret()), key: secret}
		s, err := Open(t.Context(), testLog(t), config)
		if err == nil {
			_, err = s.ObjectExists(t.Context(), "bucket", "key")
		}
		requireSecret(t, secret, err)
	}
}

func TestSecretInAddress(t *testing.T) {
	withoutEnvironment(t)
	secret := newSecret()
	escaped := url.PathEscape(secret)
	for _, address := range []string{
		"https://user:" + escaped + "@s3.example.com", "https://" + escaped + "@s3.example.com", "https://user:" + secret + "@s3.example.com",
		"user:" + secret + "@s3.example.com", secret + "@s3.example.com", "ftp://user:" + secret + "@s3.example.com",
		"https://user:?" + secret + "@s3.example.com", "https://user:%zz" + secret + "@s3.example.com",
		"https://s3.example.com/?X-Amz-Signature=" + escaped, "https://s3.example.com/path?X-Amz-Security-Token=" + secret, "https://s3.example.com/#" + secret,
	} {
		for _, key := range []string{"s3Url", "publicUrl", "proxyUrl"} {
			_, err := openWith(t, map[string]string{key: address, "maxRetries": "0", "credentialsFile": "/no/such/file"})
			requireSecret(t, secret, err)
		}
	}
	for address, more := range map[string]map[string]string{ // each broken rule has a message of its own
		"http://user:" + escaped + "@s3.example.com":                         {"caCert": "no certificate", "customerKeyEncryptionFile": "/no/such/file"},
		"https://s3.example.com/backups?X-Amz-Signature=" + escaped:          {"bucket": "backups"},
		"https://backups.s3.example.com/key?X-Amz-Security-Token=" + escaped: {"bucket": "backups"},
	} {
		_, err := openWith(t, with(more, "s3Url", address, "maxRetries", "0"))
		requireSecret(t, secret, err)
	}
}

// TestProxyThatQuotesSecrets has a proxy that answers with all that it was sent.
func TestProxyThatQuotesSecrets(t *testing.T) {
	address := serve(t, quoteHeaders)
	secret := newSecret()
	proxy := strings.Replace(address, "http://", "http://user:"+url.QueryEscape(secret)+"@", 1)
	for _, endpoint := range []string{"http://s3.test", "https://s3.test"} {
		s := openAt(t, endpoint, map[string]string{"proxyUrl": proxy, "maxRetries": "0"})
		for _, err := range everyCall(t.Context(), s, "bucket") {
			requireSecret(t, secret, err)
			requireWithout(t, base64.StdEncoding.EncodeToString([]byte("user:"+secret)), err.Error())
		}
	}
}

func quoteHeaders(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusForbidden)
	for name, values := range r.Header {
		_, _ = fmt.Fprintf(w, "<Error><Code>AccessDenied</Code><Message>%s", name)
		_ = json.NewEncoder(w).Encode(values)
		_, _ = fmt.Fprint(w, values, "</Message></Error>")
		w.Header().Add("X-Amz-Request-Id", fmt.Sprint(values))
	}
}

// TestLongAnswers has a server whose answer is cut off in the middle of a secret.
func TestLongAnswers(t *testing.T) {
	secret := newSecret()
	for before := 255; before < 300; before++ {
		address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, "<Error><Code>AccessDenied</Code><Message>%s%s%s</Message></Error>", strings.Repeat("x", before), secret, strings.Repeat("y", 300))
		})
		s := openAt(t, address, map[string]string{"credentialsFile": credentialsFile(t, "ACCESS", secret)})
		_, err := s.ListObjects(t.Context(), "bucket", "")
		require.NotContains(t, err.Error(), "x"+secret[:4], "after %d bytes", before)
	}
}

// TestServerThatQuotesKeys is for the secrets that are sent as they are: an SSE-C
// key and a session token.
func TestServerThatQuotesKeys(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "<Error><Code>AccessDenied</Code><Message>%s %s</Message></Error>",
			r.Header.Get("X-Amz-Server-Side-Encryption-Customer-Key"), r.Header.Get("X-Amz-Security-Token"))
	}))
	t.Cleanup(server.Close)
	path, token := customerKey(t), newSecret()
	key, err := os.ReadFile(path)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "cloud")
	text := "[default]\naws_access_key_id = ACCESS\naws_secret_access_key = " + newSecret() + "\naws_session_token = " + token + "\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	s := openAt(t, server.URL, map[string]string{"customerKeyEncryptionFile": path, "insecureSkipTLSVerify": "true", "credentialsFile": file})
	for _, err := range everyCall(t.Context(), s, "bucket") {
		requireSecret(t, string(key), err)
		requireSecret(t, token, err)
	}
}

// TestSignedURLIsNotLogged looks for what makes a URL a secret.
func TestSignedURLIsNotLogged(t *testing.T) {
	s, err := openWith(t, map[string]string{"credentialsFile": credentialsFile(t, "ACCESS", newSecret())})
	require.NoError(t, err)
	address, err := s.CreateSignedURL(t.Context(), "bucket", "key", time.Minute)
	require.NoError(t, err)
	_, signature, found := strings.Cut(address, "X-Amz-Signature=")
	require.True(t, found)
	remember(signature) // TestMain looks for it in every log
	require.NotContains(t, everyLog.text(), signature)
}

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

func openWith(t testing.TB, more map[string]string) (*Store, error) {
	config := map[string]string{"s3Url": "http://127.0.0.1:1", "bucket": "bucket"}
	for k, v := range more {
		config[k] = v
	}
	return Open(t.Context(), testLog(t), config)
}
