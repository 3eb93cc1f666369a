package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/backups/backuptest"
	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// rotation are the settings of a location before, while and after its keys change.
type rotation struct{ old, both, now []string }

func newRotation(t *testing.T) rotation {
	t.Helper()
	dir := t.TempDir()
	settings := func(name string, recipient *age.X25519Identity, identities ...*age.X25519Identity) []string {
		file := filepath.Join(dir, name)
		var text string
		for _, identity := range identities {
			text += identity.String() + "\n"
		}
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return []string{"encryptionRecipients=" + recipient.Recipient().String(), "encryptionIdentityFile=" + file}
	}
	old, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	now, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return rotation{settings("old", old, old), settings("both", now, now, old), settings("now", now, now)}
}

// configured is a command with these settings.
func configured(settings []string, command ...string) []string {
	for _, setting := range settings {
		command = append(command, "--config", setting)
	}
	return command
}

// stored is what the storage holds below a prefix, by key.
func (s *storage) stored(prefix string) map[string]string {
	s.Helper()
	client, err := s.Client()
	require.NoError(s, err)
	keys, err := s.Keys(s.Context(), bucket, prefix)
	require.NoError(s, err)
	all := map[string]string{}
	for _, key := range keys {
		body, _, _, err := client.GetObject(s.Context(), bucket, key, minio.GetObjectOptions{})
		require.NoError(s, err)
		content, err := io.ReadAll(body)
		require.NoError(s, err)
		require.NoError(s, body.Close())
		all[key] = string(content)
	}
	return all
}

// TestRewrap goes from plain to the first keys and to others.
func TestRewrap(t *testing.T) {
	s := newStorage(t, testbed.S3Options{Server: testbed.MinIOServer})
	keys := newRotation(t)
	old, now := append(slices.Clone(keys.old), "encryptionRequired=true"), append(slices.Clone(keys.now), "encryptionRequired=true")
	s.store("velero", backuptest.New("plain").Objects(t))
	for _, name := range []string{"nightly-1", "nightly-2"} {
		s.storeByPlugin("velero", backuptest.New(name).Objects(t), old)
	}
	s.storeByPlugin("velero", map[string][]byte{"restores/back/restore-back-logs.gz": backuptest.Gzip(t, []byte("restored\n"))}, old)
	others := map[string][]byte{"kopia/app/p01": []byte("of kopia"), "restic/app/config": []byte("of restic"), "backups/plain/notes.txt": []byte("a person's")}
	s.store("velero", others)
	before := s.stored("velero/")

	_, said := s.read(exitFailed, "velero", "rewrap", "--all")
	require.Contains(t, said, "encryptionRecipients")
	_, said = s.read(exitUsage, "velero", configured(keys.both, "rewrap")...)
	require.Contains(t, said, "say which backup, or --all")
	_, said = s.read(exitFailed, "velero", configured(keys.both, "rewrap", "nightly")...)
	require.Contains(t, said, "did you mean nightly-")
	out, _ := s.read(exitOK, "velero", configured(keys.both, "rewrap", "--all", "--dry-run")...)
	require.Contains(t, out, "to be rewrapped: velero/backups/nightly-1/nightly-1.tar.gz\n")
	require.Contains(t, out, "left plain: velero/backups/plain/plain.tar.gz\n")
	require.Contains(t, out, "left as foreign: velero/backups/plain/notes.txt\n")
	require.Contains(t, out, "21 to be rewrapped, 10 left plain, 1 left as foreign\n")
	require.Equal(t, before, s.stored("velero/"), "nothing is written")

	out, _ = s.read(exitOK, "velero", configured(keys.both, "rewrap", "nightly-1")...)
	require.Contains(t, out, "10 rewrapped\n")
	s.read(exitOK, "velero", configured(now, "verify", "nightly-1")...)
	s.read(exitFailed, "velero", configured(now, "verify", "nightly-2")...)
	s.read(exitFailed, "velero", configured(old, "verify", "nightly-1")...)

	out, _ = s.read(exitOK, "velero", configured(keys.both, "rewrap", "--all", "--seal-plain", "-o", "json")...)
	var told struct {
		Objects    []struct{ Key, Was, Outcome string }
		Outcomes   map[string]int
		NotReached int
	}
	require.NoError(t, json.Unmarshal([]byte(out), &told))
	require.Equal(t, map[string]int{"upToDate": 10, "rewrapped": 21, "leftForeign": 1}, told.Outcomes)
	require.Len(t, told.Objects, 32)
	require.Zero(t, told.NotReached)
	for _, name := range []string{"nightly-1", "nightly-2", "plain"} {
		s.read(exitFailed, "velero", configured(old, "logs", "backup/"+name)...)
	}
	out, _ = s.read(exitOK, "velero", configured(now, "logs", "back")...)
	require.Equal(t, "restored\n", out)
	s.read(exitOK, "velero", configured(now, "verify", "nightly-2")...)
	after := s.stored("velero/")
	for key, content := range others {
		require.Equal(t, string(content), after["velero/"+key])
	}
	out, _ = s.read(exitOK, "velero", configured(keys.both, "rewrap", "--all", "--seal-plain")...)
	require.Equal(t, "left as foreign: velero/backups/plain/notes.txt\n31 up to date, 1 left as foreign\n", out)
	require.Equal(t, after, s.stored("velero/"))
}

// TestRewrapToPlain leaves encryption: first the location, then what is stored.
func TestRewrapToPlain(t *testing.T) {
	s := newStorage(t, testbed.S3Options{Server: testbed.MinIOServer})
	keys := newRotation(t)
	objects := backuptest.New("nightly-1").Objects(t)
	maps.Copy(objects, backuptest.New("nightly-2").Objects(t))
	objects["restores/back/restore-back-logs.gz"] = backuptest.Gzip(t, []byte("restored\n"))
	s.storeByPlugin("velero", objects, keys.old)
	s.storeByPlugin("velero", map[string][]byte{"backups/nightly-1/notes.txt": []byte("a person's")}, keys.old)
	s.store("velero", backuptest.New("plain").Objects(t))
	before := s.stored("velero/")
	leaving := keys.old[1:]

	_, said := s.read(exitUsage, "velero", configured(leaving, "rewrap", "--all", "--to-plain", "--seal-plain")...)
	require.Contains(t, said, "exclude each other")
	_, said = s.read(exitFailed, "velero", configured(keys.old, "rewrap", "--all", "--to-plain")...)
	require.Contains(t, said, "remove encryptionRecipients and encryptionRequired")
	_, said = s.read(exitFailed, "velero", "rewrap", "--all", "--to-plain")
	require.Contains(t, said, "no private key")
	out, _ := s.read(exitOK, "velero", configured(leaving, "rewrap", "--all", "--to-plain", "--dry-run")...)
	require.Contains(t, out, "to be decrypted: velero/backups/nightly-1/nightly-1.tar.gz\n")
	require.Contains(t, out, "21 to be decrypted, 10 up to date, 1 left as foreign\n")
	require.Equal(t, before, s.stored("velero/"), "nothing is written")

	out, _ = s.read(exitOK, "velero", configured(leaving, "rewrap", "--to-plain", "nightly-1")...)
	require.Contains(t, out, "left as foreign: velero/backups/nightly-1/notes.txt\n")
	require.Contains(t, out, "10 decrypted, 1 left as foreign\n")
	out, _ = s.read(exitOK, "velero", configured(leaving, "rewrap", "--to-plain", "--all")...)
	require.Contains(t, out, "11 decrypted, 20 up to date, 1 left as foreign\n")
	after := s.stored("velero/")
	for key, content := range objects {
		require.Equal(t, string(content), after["velero/"+key])
	}
	for _, name := range []string{"nightly-1", "nightly-2", "plain"} {
		s.read(exitOK, "velero", "verify", name) // without any key
	}
	out, _ = s.read(exitOK, "velero", configured(leaving, "rewrap", "--to-plain", "--all")...)
	require.Equal(t, "left as foreign: velero/backups/nightly-1/notes.txt\n31 up to date, 1 left as foreign\n", out)
	require.Equal(t, after, s.stored("velero/"))
}

// TestRewrapDamaged tells of a damaged object, leaves it as it is, and goes on.
func TestRewrapDamaged(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	keys := newRotation(t)
	s.storeByPlugin("velero", backuptest.New("nightly").Objects(t), keys.old)
	const damaged = "velero/backups/nightly/nightly-results.gz"
	content := []byte(s.stored("velero/")[damaged])
	content[len(content)-1] ^= 1
	s.store("velero", map[string][]byte{strings.TrimPrefix(damaged, "velero/"): content})
	out, _ := s.read(exitFailed, "velero", configured(keys.both, "rewrap", "nightly")...)
	require.Contains(t, out, "failed: "+damaged+"\n")
	require.Contains(t, out, "not decrypted")
	require.Contains(t, out, "9 rewrapped, 1 failed\n")
	require.Equal(t, string(content), s.stored("velero/")[damaged])
}

// TestRewrapReadOnly does not write to a location that is read-only.
func TestRewrapReadOnly(t *testing.T) {
	s := newStorage(t, testbed.S3Options{})
	keys := newRotation(t)
	s.storeByPlugin("velero", backuptest.New("nightly").Objects(t), keys.old)
	before := s.stored("velero/")
	file := filepath.Join(t.TempDir(), "location.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
kind: BackupStorageLocation
metadata: {name: default}
spec:
  provider: longshore.dev/s3-csi
  accessMode: ReadOnly
  objectStorage: {bucket: `+bucket+`, prefix: velero}
`), 0o600))
	_, said := s.read(exitFailed, "velero", configured(keys.both, "rewrap", "--all", "--file", file)...)
	require.Contains(t, said, "ReadOnly")
	require.Equal(t, before, s.stored("velero/"))
	out, _ := s.read(exitOK, "velero", configured(keys.both, "rewrap", "--all", "--file", file, "--dry-run")...)
	require.Contains(t, out, "10 to be rewrapped\n")
}

// TestRewrapInterrupted kills a rewrap in the middle of an upload, and interrupts
// another one, which finishes what it began. Every object opens all the time, and the
// next run does the rest.
func TestRewrapInterrupted(t *testing.T) {
	buildPlugin(t)
	s := newStorage(t, testbed.S3Options{})
	for name, test := range map[string]struct {
		end    func(p *os.Process, upload func(), stderr *lines)
		killed bool
	}{
		"killed": {func(p *os.Process, _ func(), _ *lines) { _ = p.Signal(syscall.SIGKILL) }, true},
		"Ctrl-C": {func(p *os.Process, upload func(), stderr *lines) {
			_ = p.Signal(os.Interrupt)
			stderr.wait("is finished first")
			upload()
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, prefix := s.of(t), strings.ReplaceAll(name, "-", "")
			keys := newRotation(t)
			s.storeByPlugin(prefix, backuptest.New("nightly").Objects(t), keys.old)
			const uploads = 4 // the last of them is on its way when the process is ended
			slow := s.slow(uploads)
			var stdout bytes.Buffer
			stderr := &lines{}
			command := s.plugin(&stdout, stderr, configured(keys.both, "rewrap", "--all", "--bucket", bucket, "--prefix", prefix,
				"--config", "s3Url="+slow.URL, "--credentials-file", s.CredentialsFile)...)
			require.NoError(t, command.Start())
			select {
			case <-slow.reached:
			case <-time.After(time.Minute):
				t.Fatal("no upload was reached: ", stdout.String(), stderr.String())
			}
			test.end(command.Process, slow.release, stderr)
			require.Error(t, command.Wait())
			rewrapped := uploads - 1
			if !test.killed {
				rewrapped = uploads
				require.Contains(t, stdout.String(), "4 rewrapped, 6 not reached: run it again\n")
				require.Contains(t, stderr.String(), "interrupted")
			}
			s.read(exitOK, prefix, configured(keys.both, "verify", "nightly")...)
			out, _ := s.read(exitOK, prefix, configured(keys.both, "rewrap", "--all", "-o", "json")...)
			var told struct{ Outcomes map[string]int }
			require.NoError(t, json.Unmarshal([]byte(out), &told))
			require.Equal(t, map[string]int{"upToDate": rewrapped, "rewrapped": 10 - rewrapped}, told.Outcomes)
			s.read(exitOK, prefix, configured(keys.now, "verify", "nightly")...)
		})
	}
}

// plugin is a command of the plugin as a process.
func (s *storage) plugin(stdout, stderr io.Writer, args ...string) *exec.Cmd {
	s.Helper()
	path, err := testbed.Plugin.Path(s.Context())
	require.NoError(s, err)
	command := exec.CommandContext(s.Context(), path, args...)
	command.Stdout, command.Stderr = stdout, stderr
	return command
}

// slowly is a way to the storage on which one upload waits until it is released. One
// whose sender has ended meanwhile does not reach the storage.
type slowly struct {
	*httptest.Server
	reached chan struct{}
	release func()
}

func (s *storage) slow(upload int32) *slowly {
	s.Helper()
	address, err := url.Parse(s.Endpoint)
	require.NoError(s, err)
	proxy := httputil.NewSingleHostReverseProxy(address)
	released, release := context.WithCancel(s.Context())
	w := &slowly{reached: make(chan struct{}), release: release}
	var uploads atomic.Int32
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && uploads.Add(1) == upload {
			body, _ := io.ReadAll(r.Body) // else the end of the sender is not noticed
			r.Body = io.NopCloser(bytes.NewReader(body))
			close(w.reached)
			select {
			case <-released.Done():
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		proxy.ServeHTTP(out, r)
	}))
	s.Cleanup(w.Close)
	s.Cleanup(release)
	return w
}

// lines is an output that can be waited for.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// wait waits until the output has a text.
func (l *lines) wait(text string) {
	for end := time.Now().Add(time.Minute); !strings.Contains(l.String(), text) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}
