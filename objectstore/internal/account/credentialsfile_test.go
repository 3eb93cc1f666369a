package account

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf16"

	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
	"github.com/stretchr/testify/require"
)

// machineRole has the metadata service of a machine give credentials to whoever
// asks, and counts who does.
func machineRole(t *testing.T) *atomic.Int32 {
	t.Helper()
	asked := &atomic.Int32{}
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		giveKeys(w, "MACHINE", "machine-secret")
	}))
	return asked
}

// TestFileIsTheOnlySource has files that hold no credentials, beside a role that
// anybody on the machine may use.
func TestFileIsTheOnlySource(t *testing.T) {
	withoutEnvironment(t)
	asked := machineRole(t)
	const keys = "aws_access_key_id = ACCESS\naws_secret_access_key = the-secret-key-of-forty-characters-length\n"
	utf16LE := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune("[default]\n" + keys)) {
		utf16LE = append(utf16LE, byte(unit), byte(unit>>8))
	}
	for content, want := range map[string]string{
		"[default]\naws_acces_key_id = A\naws_secret_access_key = the-secret-key\n": "it has aws_acces_key_id, aws_secret_access_key",
		"[default]\nregion = us-east-1\n":                                           "it has region;",
		"[default]\n":                                                               "it has no lines",
		"[default]\nexport AWS_ACCESS_KEY_ID=A\nexport AWS_SECRET_ACCESS_KEY=the-secret-key\n": `it has "export AWS_ACCESS_KEY_ID", which is a line of a shell`,
		"[default]\naws_access_key_id =\naws_secret_access_key =\n":                            "aws_access_key_id with no value",
		"[default]\naws_access_key: A\nthe-secret-key-of-forty-characters-length\n":            "it has a line without =",
		"[default]\nrole_arn = arn:aws:iam::123456789012:role/velero\n":                        "it has role_arn;",
		"[default]\nthe-secret-key-of-forty-characters-length = 1\n":                           "a line that begins with no name",
		"[DEFAULT]\n" + keys:    "has the profile [DEFAULT], and [default] is wanted",
		"[production]\n" + keys: "has no profile [default]; it has [production]",
		"[the-secret-key-of-forty-characters-length]\n" + keys: "it has others",
		keys:                       "has no profile: there is no line [default]",
		"\ufeff[default]\n" + keys: "byte order mark",
		string(utf16LE):            "is in UTF-16",
		base64.StdEncoding.EncodeToString([]byte("[default]\n" + keys)):                        "base64 twice",
		`{"AccessKeyId": "A", "SecretAccessKey": "the-secret-key-of-forty-characters-length"}`: "is JSON",
	} {
		for _, name := range []string{"location", "install"} {
			config := map[string]string{"credentialsFile": file(t, content)}
			if name == "install" {
				t.Setenv("AWS_SHARED_CREDENTIALS_FILE", config["credentialsFile"])
				config = nil
			}
			_, err := openWith(t, config)
			require.ErrorContains(t, err, want)
			require.Equal(t, s3err.Credentials, s3err.KindOf(err), err)
			require.ErrorContains(t, err, "it must hold the lines [default]")
			requireSecret(t, "the-secret-key", err)
		}
	}
	for path, want := range map[string]string{"/no/such/file": "/no/such/file: it is missing", t.TempDir(): "cannot be read: is a directory"} {
		_, err := openWith(t, map[string]string{"credentialsFile": path})
		require.ErrorContains(t, err, want)
	}
	require.Zero(t, asked.Load(), "the machine's role is not asked")
}

// TestForms has files that are well-formed in ways that people write.
func TestForms(t *testing.T) {
	withoutEnvironment(t)
	machineRole(t)
	for _, content := range []string{
		"[default]\r\naws_access_key_id=FILE\r\naws_secret_access_key=the-secret-key\r\n",
		"\n\n# comment\n [default]\n  aws_access_key_id = FILE\n\taws_secret_access_key= the-secret-key",
		"[profile default]\naws_access_key_id=FILE\naws_secret_access_key=the-secret-key\n",
		"[other]\nregion=x\n[default]\naws_access_key_id=FILE\naws_secret_access_key=the-secret-key\n",
	} {
		o, err := openWith(t, map[string]string{"credentialsFile": file(t, content)})
		require.NoError(t, err, "%q", content)
		require.Equal(t, "FILE", accessKeyOf(t, o))
		require.Empty(t, o.identity.Advice())
	}
}

// TestEmptyFile has the Secret of somebody who uses a role: velero install wants
// a file, and gets one that is empty.
func TestEmptyFile(t *testing.T) {
	withoutEnvironment(t)
	machineRole(t)
	for _, content := range []string{"", "\n  \n"} {
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file(t, content))
		o, err := openWith(t, nil)
		require.NoError(t, err)
		require.Equal(t, "MACHINE", accessKeyOf(t, o))
		require.Contains(t, o.identity.Advice(), "check the role or service behind it")
		o.Expire()
		require.Equal(t, "MACHINE", accessKeyOf(t, o))
		require.NotContains(t, o.log.String(), "keeping the former ones", "they are renewed from where they came")
	}
}

// TestEmptyFileOfTheLocation has a location with a role beside one whose keys velero
// install was given.
func TestEmptyFileOfTheLocation(t *testing.T) {
	withoutEnvironment(t)
	machineRole(t)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", credentialsFile(t, "INSTALL", "the-secret-key"))
	o, err := openWith(t, map[string]string{"credentialsFile": file(t, "\n")})
	require.NoError(t, err)
	require.Equal(t, "MACHINE", accessKeyOf(t, o))
}

// TestFileThatIsEmptied must not go on with the machine's role.
func TestFileThatIsEmptied(t *testing.T) {
	withoutEnvironment(t)
	asked := machineRole(t)
	path := credentialsFile(t, "FILE", "the-secret-key")
	o, err := openWith(t, map[string]string{"credentialsFile": path})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	o.Expire()
	require.Equal(t, "FILE", accessKeyOf(t, o))
	require.Contains(t, o.log.String(), "it has become empty")
	require.Zero(t, asked.Load())
}

// TestRefusedRole has no keys in play, so none may be in the advice.
func TestRefusedRole(t *testing.T) {
	withoutEnvironment(t)
	refusing := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>`))
	})
	t.Setenv("AWS_ENDPOINT_URL_STS", refusing)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", filepath.Join(t.TempDir(), "token"))
	require.NoError(t, os.WriteFile(os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), []byte("the.web.token.of.some.length"), 0o600))
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/velero")
	_, err := openWith(t, nil)
	require.ErrorContains(t, err, "no credentials from web identity (role arn:aws:iam::123456789012:role/velero)")
	require.ErrorContains(t, err, "sts:AssumeRoleWithWebIdentity")
	require.ErrorContains(t, err, "trust policy names this cluster's OIDC provider")
	require.NotContains(t, err.Error(), "access key")
	_, err = openWith(t, map[string]string{"credentialsFile": file(t, "[default]\nrole_arn = arn:aws:iam::123456789012:role/velero\nweb_identity_token_file = "+os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")+"\n")})
	require.ErrorContains(t, err, "check the role, its trust policy")
	require.NotContains(t, err.Error(), "access key")
	t.Setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
	_, err = openWith(t, nil)
	require.Equal(t, s3err.Unreachable, s3err.KindOf(err), "what may pass is tried again: %v", err)
	require.ErrorContains(t, err, "the service behind the credentials is away")
	require.False(t, strings.Contains(err.Error(), "s3Url"))
}
