package objectstore

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// keyPair makes a private key, in a file, and its public key.
func keyPair(t testing.TB) (public, file string) {
	t.Helper()
	identity, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	remember(identity.String())
	file = filepath.Join(t.TempDir(), "identities")
	require.NoError(t, os.WriteFile(file, []byte("# of a test\n"+identity.String()+"\n"), 0o600))
	return identity.Recipient().String(), file
}

// encrypting are the settings of a location that encrypts with keys of its own.
func encrypting(t testing.TB) map[string]string {
	t.Helper()
	public, file := keyPair(t)
	return map[string]string{"encryptionRecipients": public, "encryptionIdentityFile": file, "partSize": "5MiB"}
}

// with returns the settings and more of them.
func with(settings map[string]string, more ...string) map[string]string {
	settings = maps.Clone(settings)
	for i := 0; i < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	return settings
}

// inBucket is what the storage holds.
func inBucket(t testing.TB, real *server, bucket, key string) []byte {
	t.Helper()
	body, _, _, err := real.admin.GetObject(t.Context(), bucket, key, minio.GetObjectOptions{})
	require.NoError(t, err)
	defer body.Close()
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	return data
}

// plant puts an object into the bucket as somebody does who may write there.
func plant(t testing.TB, real *server, bucket, key string, data []byte) {
	t.Helper()
	_, err := real.admin.PutObject(t.Context(), bucket, key, bytes.NewReader(data), int64(len(data)), "", "", minio.PutObjectOptions{})
	require.NoError(t, err)
}

// refused reads an object to its end, and wants that to fail because of the
// encryption, in words by which Velero does not take the object for missing.
func refused(t testing.TB, s *Store, bucket, key string) error {
	t.Helper()
	body, err := s.GetObject(t.Context(), bucket, key)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
		body.Close()
	}
	require.Equal(t, s3err.NotDecrypted, KindOf(err), "%v", err)
	require.ErrorContains(t, err, key)
	for _, word := range []string{"not found", "does not exist", "nosuchkey"} {
		require.NotContains(t, strings.ToLower(err.Error()), word)
	}
	return err
}

// TestEncrypted runs the suite with encryption by the plugin, but for signed URLs,
// and looks at what is in the bucket.
func TestEncrypted(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			real := start(t, testbed.S3Options{Server: kind})
			more := with(encrypting(t), "encryptionRequired", "true")
			conformance(t, real, more, signedURLs)
			bucket := real.bucket(t)
			s := real.open(t, bucket, with(more, "prefix", "cluster-one"))
			for key, size := range map[string]int{"cluster-one/backups/b/b.json": 300, "cluster-one/backups/b/b.tar.gz": 11 << 20} {
				data := content(size, 7)
				mustPut(t, s, bucket, key, data)
				stored := inBucket(t, real, bucket, key)
				require.Greater(t, len(stored), size)
				require.True(t, bytes.HasPrefix(stored, []byte("age-encryption.org/v1\n")))
				require.False(t, bytes.Contains(stored, data[100:200]))
				require.True(t, bytes.Equal(data, readAll(t.Context(), t, s, bucket, key)))
			}
		})
	}
}

// TestAlteredInTheBucket alters, cuts, swaps and replaces encrypted objects.
func TestAlteredInTheBucket(t *testing.T) {
	real := startVersity(t)
	bucket, more := real.bucket(t), with(encrypting(t), "prefix", "one")
	s := real.open(t, bucket, more)
	const key, other, chunk = "one/backups/b/b.tar.gz", "one/backups/c/c.tar.gz", 64<<10 + 16
	mustPut(t, s, bucket, key, content(300<<10, 1))
	mustPut(t, s, bucket, other, content(300<<10, 2))
	stored := inBucket(t, real, bucket, key)
	header := len(stored) - 300<<10 - 5*16
	altered := bytes.Clone(stored)
	altered[len(altered)-1] ^= 1
	for name, data := range map[string][]byte{
		"the last byte": altered, "cut at a chunk": stored[:header+2*chunk], "cut in a chunk": stored[:len(stored)-100],
		"only the header": stored[:header], "more": append(bytes.Clone(stored), 0), "another backup's": inBucket(t, real, bucket, other),
		"a damaged first line": append([]byte("Age"), stored[3:]...),
	} {
		plant(t, real, bucket, key, data)
		t.Log(name, refused(t, s, bucket, key))
	}

	// A prefix that moves as a whole is read, where it was and where it is.
	plant(t, real, bucket, key, stored)
	plant(t, real, bucket, "two/backups/b/b.tar.gz", stored)
	moved := real.open(t, bucket, with(more, "prefix", "two/"))
	for s, key := range map[*Store]string{s: key, moved: "two/backups/b/b.tar.gz"} {
		require.True(t, bytes.Equal(content(300<<10, 1), readAll(t.Context(), t, s, bucket, key)))
	}
}

// TestPlainAmongEncrypted goes from plain to encrypted and back.
func TestPlainAmongEncrypted(t *testing.T) {
	real := startVersity(t)
	bucket, more := real.bucket(t), encrypting(t)
	plain, s, strict := real.open(t, bucket, nil), real.open(t, bucket, more), real.open(t, bucket, with(more, "encryptionRequired", "true"))
	mustPut(t, plain, bucket, "old", []byte("plain"))
	mustPut(t, s, bucket, "new", []byte("encrypted"))
	require.Equal(t, "plain", string(readAll(t.Context(), t, s, bucket, "old")))
	require.Contains(t, everyLog.text(), "Reading an object that is not encrypted")
	require.Equal(t, "encrypted", string(readAll(t.Context(), t, strict, bucket, "new")))
	require.ErrorContains(t, refused(t, strict, bucket, "old"), "encryptionRequired")
	require.ErrorContains(t, refused(t, plain, bucket, "new"), "no private key")

	reading := real.open(t, bucket, map[string]string{"encryptionIdentityFile": more["encryptionIdentityFile"]})
	require.Equal(t, "encrypted", string(readAll(t.Context(), t, reading, bucket, "new")))
	mustPut(t, reading, bucket, "left", []byte("plain again"))
	require.Equal(t, "plain again", string(inBucket(t, real, bucket, "left")))
}

// TestSignedURLOfEncrypted refuses a URL where its holder could read nothing, and
// says what to use.
func TestSignedURLOfEncrypted(t *testing.T) {
	real := startVersity(t)
	bucket, more := real.bucket(t), encrypting(t)
	s, plain := real.open(t, bucket, more), real.open(t, bucket, nil)
	mustPut(t, s, bucket, "new", []byte("encrypted"))
	mustPut(t, plain, bucket, "old", []byte("plain"))
	reading := real.open(t, bucket, map[string]string{"encryptionIdentityFile": more["encryptionIdentityFile"]})
	other := encrypting(t)
	for name, s := range map[string]*Store{"encrypting": s, "reading": reading, "of another key": real.open(t, bucket, other)} {
		_, err := s.CreateSignedURL(t.Context(), bucket, "new", time.Minute)
		require.Equal(t, s3err.NotDecrypted, KindOf(err), "%s: %v", name, err)
		for _, command := range []string{"velero-plugin-longshore", "logs", "describe", "download"} {
			require.ErrorContains(t, err, command)
		}
		address, err := s.CreateSignedURL(t.Context(), bucket, "old", time.Minute)
		require.NoError(t, err, "a backup from before the encryption is looked at as before")
		require.Equal(t, "plain", string(fetch(t, &fixture{Store: s}, address)))
		_, err = s.CreateSignedURL(t.Context(), bucket, "none", time.Minute)
		require.NoError(t, err)
	}
}

// lateBody is an answer whose body comes some time after its header.
type lateBody struct{ http.ResponseWriter }

func (l lateBody) WriteHeader(status int) {
	l.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(l.ResponseWriter).Flush()
	time.Sleep(300 * time.Millisecond)
}

func (l lateBody) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// TestLookAtEncrypted reads no more of an object over a long way than what tells that it
// is encrypted.
func TestLookAtEncrypted(t *testing.T) {
	behind, proxy := behindProxy(t, startVersity(t))
	bucket := behind.bucket(t)
	s := behind.open(t, bucket, encrypting(t))
	s.downloader.Ranges = alwaysInRanges()
	data := content(16<<20, 1)
	mustPut(t, s, bucket, "key", data)
	var ranged atomic.Int32
	proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Header.Get("Range") != "" {
			ranged.Add(1)
			forward.ServeHTTP(w, r)
			return
		}
		forward.ServeHTTP(lateBody{w}, r)
	})
	_, err := s.CreateSignedURL(t.Context(), bucket, "key", time.Minute)
	require.Equal(t, s3err.NotDecrypted, KindOf(err), "%v", err)
	require.Zero(t, ranged.Load())
	require.Equal(t, data, readAll(t.Context(), t, s, bucket, "key"))
	require.NotZero(t, ranged.Load(), "who reads on gets ranges")
}

// TestProgramAge has the age program read what the plugin wrote, and the plugin
// what the program wrote.
func TestProgramAge(t *testing.T) {
	program, err := testbed.Age.Path(t.Context())
	require.NoError(t, err)
	real := startVersity(t)
	bucket, more := real.bucket(t), encrypting(t)
	s, data := real.open(t, bucket, more), content(6<<20, 3)
	mustPut(t, s, bucket, "backups/b/b.tar.gz", data)
	opened := runAge(t, program, inBucket(t, real, bucket, "backups/b/b.tar.gz"), "--decrypt", "--identity", more["encryptionIdentityFile"])
	require.True(t, bytes.Equal(data, opened))
	plant(t, real, bucket, "by-age", runAge(t, program, data, "--encrypt", "--recipient", more["encryptionRecipients"]))
	require.True(t, bytes.Equal(data, readAll(t.Context(), t, s, bucket, "by-age")))
}

func runAge(t *testing.T, program string, input []byte, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(input), &stderr
	out, err := command.Output()
	require.NoError(t, err, "age %v: %s", args, stderr.String())
	return out
}

// TestKeysOfALocation opens locations whose keys do not fit.
func TestKeysOfALocation(t *testing.T) {
	real := startVersity(t)
	bucket, mine, other := real.bucket(t), encrypting(t), encrypting(t)
	key, err := os.ReadFile(mine["encryptionIdentityFile"])
	require.NoError(t, err)
	private := strings.Fields(string(key))[4]
	for _, c := range []struct {
		config map[string]string
		want   []string
	}{
		{map[string]string{"encryptionRecipients": mine["encryptionRecipients"]}, []string{"encryptionRecipients", "encryptionIdentitySecret or encryptionIdentityFile"}},
		{with(mine, "encryptionRecipients", other["encryptionRecipients"]), []string{"encryptionRecipients", "nothing that is written could be read"}},
		{with(mine, "encryptionRecipients", "age1notakey"), []string{"encryptionRecipients", `"age1notakey"`, "begin with age1"}},
		{with(mine, "encryptionRecipients", private), []string{"encryptionRecipients", "begin with age1"}},
		{with(mine, "encryptionIdentityFile", "/no/such/file"), []string{"encryptionIdentityFile", "/no/such/file"}},
		{with(mine, "encryptionIdentityFile", private), []string{"encryptionIdentityFile"}},
		{with(mine, "encryptionIdentityFile", "", "encryptionIdentitySecret", private), []string{"encryptionIdentitySecret", "NAME/KEY"}},
		{with(mine, "encryptionIdentitySecret", "a/b"), []string{"encryptionIdentityFile", "encryptionIdentitySecret"}},
		{map[string]string{"encryptionRequired": "true"}, []string{"encryptionRequired", "encryptionRecipients"}},
	} {
		_, err := Open(t.Context(), testLog(t), real.config(t, bucket, c.config))
		requireSecret(t, private, err)
		for _, word := range c.want {
			require.ErrorContains(t, err, word)
		}
	}
}
