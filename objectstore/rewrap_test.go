package objectstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/client"
	"github.com/longshore-dev/velero-plugin/objectstore/internal/s3err"
)

// rotation is a location before, while and after its keys change.
type rotation struct{ old, both, now map[string]string }

func rotate(t testing.TB) rotation {
	t.Helper()
	old, now := encrypting(t), encrypting(t)
	var all []byte
	for _, s := range []map[string]string{now, old} {
		keys, err := os.ReadFile(s["encryptionIdentityFile"])
		require.NoError(t, err)
		all = append(all, keys...)
	}
	file := filepath.Join(t.TempDir(), "both")
	require.NoError(t, os.WriteFile(file, all, 0o600))
	return rotation{old, with(now, "encryptionIdentityFile", file), now}
}

const (
	smallKey = "one/backups/b/velero-backup.json"
	largeKey = "one/backups/b/b.tar.gz"
)

// rewrapSizes are of an object of one request and of one of two parts, in bytes.
var rewrapSizes = map[string]int{smallKey: 300, largeKey: 6 << 20}

func TestRewrap(t *testing.T) {
	for _, kind := range []testbed.S3Server{testbed.VersityGateway, testbed.MinIOServer} {
		real := start(t, testbed.S3Options{Server: kind})
		for name, test := range map[string]func(*testing.T, *server){
			"to other keys": rewrapToOtherKeys, "plain": rewrapPlain, "changed meanwhile": rewrapChanged, "damaged": rewrapDamaged, "to plain": rewrapToPlain,
		} {
			t.Run(kind.Name+" "+name, func(t *testing.T) { test(t, real) })
		}
	}
}

func rewrapToOtherKeys(t *testing.T, real *server) {
	program, err := testbed.Age.Path(t.Context())
	require.NoError(t, err)
	keys, bucket := rotate(t), real.bucket(t)
	open := func(settings map[string]string) *Store {
		return real.open(t, bucket, with(settings, "prefix", "one", "encryptionRequired", "true"))
	}
	before, both, after := open(keys.old), open(keys.both), open(keys.now)
	for key, size := range rewrapSizes {
		data := content(size, 5)
		mustPut(t, before, bucket, key, data)
		was := inBucket(t, real, bucket, key)
		_, err := after.Rewrap(t.Context(), bucket, key, RewrapOptions{})
		require.Equal(t, s3err.NotDecrypted, KindOf(err), "without the old private key: %v", err)
		dry, err := both.Rewrap(t.Context(), bucket, key, RewrapOptions{DryRun: true})
		require.NoError(t, err)
		require.Equal(t, Rewrapped{Was: StateFormer, Size: int64(len(was)), Wanted: true}, dry)
		require.True(t, bytes.Equal(was, inBucket(t, real, bucket, key)), "nothing is written by a dry run")

		done, err := both.Rewrap(t.Context(), bucket, key, RewrapOptions{})
		require.NoError(t, err)
		require.True(t, done.Done)
		refused(t, before, bucket, key)
		require.True(t, bytes.Equal(data, readAll(t.Context(), t, after, bucket, key)))
		is := inBucket(t, real, bucket, key)
		require.True(t, bytes.Equal(data, runAge(t, program, is, "--decrypt", "--identity", keys.now["encryptionIdentityFile"])))
		requireMetadata(t, after, bucket, key, is)

		for name, s := range map[string]*Store{"with both keys": both, "with the new key": after} {
			again, err := s.Rewrap(t.Context(), bucket, key, RewrapOptions{SealPlain: true})
			require.NoError(t, err, name)
			require.Equal(t, Rewrapped{Was: StatePresent, Size: int64(len(is))}, again, name)
		}
		require.True(t, bytes.Equal(is, inBucket(t, real, bucket, key)), "it is written once")
	}
	require.Empty(t, real.uploads(t, bucket))
}

// requireMetadata wants what the plugin keeps with an object to be that of this one.
func requireMetadata(t *testing.T, s *Store, bucket, key string, stored []byte) {
	t.Helper()
	info, err := s.client.Stat(t.Context(), client.Brief, bucket, key)
	require.NoError(t, err)
	require.NotEmpty(t, info.UserMetadata[client.TokenName])
	require.EqualValues(t, len(stored), info.Size)
	if !client.OfParts(info.ETag) {
		require.Equal(t, client.CRC(stored), info.UserMetadata[client.CRCName])
	}
}

// rewrapPlain leaves plain objects alone unless told otherwise, also where
// encryption is required.
func rewrapPlain(t *testing.T, real *server) {
	mine, bucket := encrypting(t), real.bucket(t)
	for name, required := range map[string]string{"required": "true", "not required": "false"} {
		s := real.open(t, bucket, with(mine, "prefix", "one", "encryptionRequired", required))
		for key, size := range rewrapSizes {
			data := content(size, 6)
			mustPut(t, real.open(t, bucket, nil), bucket, key, data)
			for _, o := range []RewrapOptions{{}, {DryRun: true}, {SealPlain: true, DryRun: true}} {
				r, err := s.Rewrap(t.Context(), bucket, key, o)
				require.NoError(t, err, name)
				require.Equal(t, Rewrapped{Was: StatePlain, Size: int64(size), Wanted: o.SealPlain}, r, name)
				require.True(t, bytes.Equal(data, inBucket(t, real, bucket, key)), name)
			}
			r, err := s.Rewrap(t.Context(), bucket, key, RewrapOptions{SealPlain: true})
			require.NoError(t, err, name)
			require.True(t, r.Done)
			is := inBucket(t, real, bucket, key)
			require.True(t, bytes.HasPrefix(is, []byte("age-encryption.org/v1\n")))
			require.True(t, bytes.Equal(data, readAll(t.Context(), t, s, bucket, key)))
			requireMetadata(t, s, bucket, key, is)
		}
	}
	_, err := real.open(t, bucket, nil).Rewrap(t.Context(), bucket, smallKey, RewrapOptions{SealPlain: true})
	require.ErrorContains(t, err, "encryptionRecipients")
}

// leaving are the settings of a location that reads what is encrypted, and encrypts
// nothing any more.
func leaving(keys map[string]string) map[string]string {
	return map[string]string{"encryptionIdentityFile": keys["encryptionIdentityFile"], "partSize": keys["partSize"]}
}

// rewrapToPlain decrypts, where the location does not say that it encrypts.
func rewrapToPlain(t *testing.T, real *server) {
	mine, bucket := encrypting(t), real.bucket(t)
	s, plain := real.open(t, bucket, with(mine, "prefix", "one")), real.open(t, bucket, nil)
	leaves := real.open(t, bucket, with(leaving(mine), "prefix", "one"))
	toPlain := RewrapOptions{ToPlain: true}
	for key, size := range rewrapSizes {
		data := content(size, 9)
		mustPut(t, s, bucket, key, data)
		was := inBucket(t, real, bucket, key)
		for word, refusing := range map[string]*Store{
			"encryptionRecipients": s, "encryptionRequired": real.open(t, bucket, with(mine, "prefix", "one", "encryptionRequired", "true")), "no private key": plain,
		} {
			_, err := refusing.Rewrap(t.Context(), bucket, key, toPlain)
			require.ErrorContains(t, err, word)
		}
		dry, err := leaves.Rewrap(t.Context(), bucket, key, RewrapOptions{ToPlain: true, DryRun: true})
		require.NoError(t, err)
		require.Equal(t, Rewrapped{Was: StateFormer, Size: int64(len(was)), Wanted: true}, dry)
		require.True(t, bytes.Equal(was, inBucket(t, real, bucket, key)), "nothing is written by a dry run")

		flipped := bytes.Clone(was)
		flipped[len(flipped)-1] ^= 1
		for name, damaged := range map[string][]byte{"the last byte": flipped, "cut": was[:len(was)-1], "more": append(bytes.Clone(was), 0)} {
			plant(t, real, bucket, key, damaged)
			_, err := leaves.Rewrap(t.Context(), bucket, key, toPlain)
			require.Equal(t, s3err.NotDecrypted, KindOf(err), "%s: %v", name, err)
			require.True(t, bytes.Equal(damaged, inBucket(t, real, bucket, key)), name)
		}

		plant(t, real, bucket, key, was)
		done, err := leaves.Rewrap(t.Context(), bucket, key, toPlain)
		require.NoError(t, err)
		require.True(t, done.Done)
		require.True(t, bytes.Equal(data, inBucket(t, real, bucket, key)))
		require.True(t, bytes.Equal(data, readAll(t.Context(), t, plain, bucket, key)))
		requireMetadata(t, leaves, bucket, key, data)
		again, err := leaves.Rewrap(t.Context(), bucket, key, toPlain)
		require.NoError(t, err)
		require.Equal(t, Rewrapped{Was: StatePlain, Size: int64(size)}, again)
	}
	rewrapTwiceEncrypted(t, real, bucket, s, leaves)
	require.Empty(t, real.uploads(t, bucket))
}

// rewrapTwiceEncrypted has an object whose content is an encrypted one itself: plain
// it would be read as that.
func rewrapTwiceEncrypted(t *testing.T, real *server, bucket string, s, leaves *Store) {
	mustPut(t, s, bucket, smallKey, []byte("content"))
	mustPut(t, s, bucket, smallKey, inBucket(t, real, bucket, smallKey))
	was := inBucket(t, real, bucket, smallKey)
	_, err := leaves.Rewrap(t.Context(), bucket, smallKey, RewrapOptions{ToPlain: true})
	require.ErrorContains(t, err, "begins like an encrypted object")
	require.True(t, bytes.Equal(was, inBucket(t, real, bucket, smallKey)))
}

// rewrapChanged has somebody write and delete the object between the look at it and
// the write: what they did stays.
func rewrapChanged(t *testing.T, real *server) {
	keys, bucket := rotate(t), real.bucket(t)
	behind, proxy := behindProxy(t, real)
	before := real.open(t, bucket, with(keys.old, "prefix", "one"))
	both, leaves := behind.open(t, bucket, with(keys.both, "prefix", "one")), behind.open(t, bucket, with(leaving(keys.old), "prefix", "one"))
	for key, size := range rewrapSizes {
		for name, meddle := range map[string]func(){
			"written": func() { plant(t, real, bucket, key, []byte("theirs")) },
			"deleted": func() {
				require.NoError(t, real.admin.RemoveObject(t.Context(), bucket, key, minio.RemoveObjectOptions{}))
			},
		} {
			for s, o := range map[*Store]RewrapOptions{both: {}, leaves: {ToPlain: true}} {
				mustPut(t, before, bucket, key, content(size, 7))
				once := sync.OnceFunc(meddle)
				conditions := 0
				proxy.on(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
					if r.Header.Get("If-Match") != "" {
						conditions++
						once()
					}
					forward.ServeHTTP(w, r)
				})
				_, err := s.Rewrap(t.Context(), bucket, key, o)
				require.Equal(t, s3err.Changed, KindOf(err), "%s, %s, %+v: %v", key, name, o, err)
				require.Equal(t, 1, conditions, "%s, %s, %+v", key, name, o)
				if name == "written" {
					require.Equal(t, "theirs", string(inBucket(t, real, bucket, key)))
					continue
				}
				there, err := before.ObjectExists(t.Context(), bucket, key)
				require.NoError(t, err)
				require.False(t, there, "what was deleted does not come back")
			}
		}
	}
	require.Empty(t, real.uploads(t, bucket))
}

// rewrapDamaged has objects that are not authentic to their end: they stay as they
// are, for whoever can save something of them.
func rewrapDamaged(t *testing.T, real *server) {
	keys, bucket := rotate(t), real.bucket(t)
	before, both := real.open(t, bucket, with(keys.old, "prefix", "one")), real.open(t, bucket, with(keys.both, "prefix", "one"))
	for key, size := range rewrapSizes {
		mustPut(t, before, bucket, key, content(size, 8))
		good := inBucket(t, real, bucket, key)
		flipped := bytes.Clone(good)
		flipped[len(flipped)-1] ^= 1
		for name, data := range map[string][]byte{
			"the last byte": flipped, "cut": good[:len(good)-10], "more": append(bytes.Clone(good), 0), "its header": bytes.Replace(good, []byte("longshore.dev/name"), []byte("longshore.dev/game"), 1),
		} {
			plant(t, real, bucket, key, data)
			_, err := both.Rewrap(t.Context(), bucket, key, RewrapOptions{SealPlain: true})
			require.Equal(t, s3err.NotDecrypted, KindOf(err), "%s, %s: %v", key, name, err)
			require.True(t, bytes.Equal(data, inBucket(t, real, bucket, key)), "%s, %s", key, name)
		}
		const elsewhere = "one/backups/c/c.tar.gz"
		plant(t, real, bucket, elsewhere, good)
		_, err := both.Rewrap(t.Context(), bucket, elsewhere, RewrapOptions{SealPlain: true})
		require.ErrorContains(t, err, "was stored as")
	}
	require.Empty(t, real.uploads(t, bucket))
}

// TestRewrapKeepsVersions: in a bucket with versions the old object stays as one,
// encrypted to the old keys.
func TestRewrapKeepsVersions(t *testing.T) {
	real := start(t, testbed.S3Options{Server: testbed.MinIOServer})
	real.locking = true
	keys, bucket := rotate(t), real.bucket(t)
	locked := []string{"objectLockMode", "GOVERNANCE", "objectLockRetention", "1h"}
	mustPut(t, real.open(t, bucket, with(keys.old, locked...)), bucket, "key", []byte("content"))
	was := inBucket(t, real, bucket, "key")
	s := real.open(t, bucket, with(keys.both, append(locked, "deleteVersions", "true")...))
	r, err := s.Rewrap(t.Context(), bucket, "key", RewrapOptions{})
	require.NoError(t, err)
	require.True(t, r.Done)
	var versions []string
	for o := range real.admin.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		require.NoError(t, o.Err)
		versions = append(versions, o.VersionID)
	}
	require.Len(t, versions, 2)
	body, _, _, err := real.admin.GetObject(t.Context(), bucket, "key", minio.GetObjectOptions{VersionID: versions[1]})
	require.NoError(t, err)
	defer body.Close()
	old, err := io.ReadAll(body)
	require.NoError(t, err)
	require.True(t, bytes.Equal(was, old))

	is := inBucket(t, real, bucket, "key")
	s = real.open(t, bucket, with(leaving(keys.now), append(locked, "deleteVersions", "true")...))
	r, err = s.Rewrap(t.Context(), bucket, "key", RewrapOptions{ToPlain: true})
	require.NoError(t, err)
	require.True(t, r.Done)
	require.Equal(t, "content", string(inBucket(t, real, bucket, "key")))
	mode, until, err := real.admin.GetObjectRetention(t.Context(), bucket, "key", "")
	require.NoError(t, err)
	require.Equal(t, minio.Governance, *mode)
	require.Greater(t, time.Until(*until), 50*time.Minute)
	var kept []string
	for o := range real.admin.ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		require.NoError(t, o.Err)
		kept = append(kept, o.VersionID)
	}
	require.Equal(t, versions, kept[1:])
	body, _, _, err = real.admin.GetObject(t.Context(), bucket, "key", minio.GetObjectOptions{VersionID: kept[1]})
	require.NoError(t, err)
	defer body.Close()
	old, err = io.ReadAll(body)
	require.NoError(t, err)
	require.True(t, bytes.Equal(is, old), "the encrypted one stays as an older version")
}

// shelf is a small server with one object.
type shelf struct {
	mu       sync.Mutex
	stored   *object
	puts     int
	ignores  bool           // it does not know If-Match
	bare     bool           // it compares If-Match with an ETag without quotes
	afterGet func(s *shelf) // called once
	onPut    func(s *shelf, body []byte, w http.ResponseWriter, r *http.Request) (done bool)
}

// ServeHTTP implements http.Handler.
func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Query().Has("prefix"):
		_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
	case r.Method == http.MethodPut:
		s.put(w, r)
	case s.stored == nil:
		s3Error(w, http.StatusNotFound, "NoSuchKey")
	default:
		s.stored.ServeHTTP(w, r)
		if s.afterGet != nil && r.Method == http.MethodGet {
			s.afterGet(s)
			s.afterGet = nil
		}
	}
}

func (s *shelf) put(w http.ResponseWriter, r *http.Request) {
	s.puts++
	body, _ := io.ReadAll(r.Body)
	etag := s.stored.header.Get("Etag")
	if s.bare {
		etag = strings.Trim(etag, `"`)
	}
	if match := r.Header.Get("If-Match"); match != "" && !s.ignores && match != etag {
		s3Error(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	if s.onPut != nil && s.onPut(s, body, w, r) {
		return
	}
	s.store(body, r.Header)
	w.Header().Set("Etag", s.stored.header.Get("Etag"))
}

func (s *shelf) store(body []byte, header http.Header) {
	s.stored = foreign(body)
	for name, values := range header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			s.stored.header[name] = values
		}
	}
}

func s3Error(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", "1")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>of the test</Message></Error>")
}

// withoutConditions refuses If-Match.
func withoutConditions(_ *shelf, _ []byte, w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("If-Match") == "" {
		return false
	}
	s3Error(w, http.StatusNotImplemented, "NotImplemented")
	return true
}

// losing breaks the first upload off, before or after it is stored.
func losing(stored bool) func(*shelf, []byte, http.ResponseWriter, *http.Request) bool {
	return func(s *shelf, body []byte, _ http.ResponseWriter, r *http.Request) bool {
		if s.puts > 1 {
			return false
		}
		if stored {
			s.store(body, r.Header)
		}
		panic(http.ErrAbortHandler)
	}
}

// damaging stores something else than it was sent, and answers as if it were right.
func damaging(s *shelf, body []byte, w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Etag", foreign(body).header.Get("Etag"))
	body[len(body)-1] ^= 1
	s.store(body, r.Header)
	return true
}

// TestRewrapOnOtherServers has servers that know no conditional writes, that lose
// answers, and that damage what they store.
func TestRewrapOnOtherServers(t *testing.T) {
	t.Parallel()
	const plain, theirs = "plain", "theirs"
	write := func(s *shelf) { s.store([]byte(theirs), nil) }
	remove := func(s *shelf) { s.stored = nil }
	for name, c := range map[string]struct {
		server *shelf
		kind   Kind   // of the error
		stays  string // "" for nothing
		puts   int
	}{
		"ignores the condition":                  {&shelf{ignores: true}, "", plain, 1},
		"ignores it, and something else writes":  {&shelf{ignores: true, afterGet: write}, s3err.Changed, theirs, 0},
		"ignores it, and something else deletes": {&shelf{ignores: true, afterGet: remove}, s3err.Changed, "", 0},
		"refuses the condition":                  {&shelf{onPut: withoutConditions}, "", plain, 2},
		"compares without quotes":                {&shelf{bare: true}, "", plain, 2},
		"loses the request":                      {&shelf{onPut: losing(false)}, "", plain, 2},
		"loses the answer":                       {&shelf{onPut: losing(true)}, "", plain, 2},
		"damages what it stores":                 {&shelf{onPut: damaging}, s3err.NotConfirmed, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.server.store([]byte(plain), nil)
			s := openAt(t, serve(t, c.server.ServeHTTP), with(encrypting(t), "requestTimeout", "1m", "stallTimeout", "1m"))
			_, err := s.Rewrap(t.Context(), "bucket", "key", RewrapOptions{SealPlain: true})
			require.Equal(t, c.kind, KindOf(err), "%v", err)
			require.Equal(t, c.puts, c.server.puts)
			switch {
			case c.kind == s3err.NotConfirmed:
				require.ErrorContains(t, err, "bring back the version before")
			case c.stays == "":
				require.Nil(t, c.server.stored)
			default:
				require.Equal(t, c.stays, string(readAll(t.Context(), t, s, "bucket", "key")))
			}
		})
	}
}

// TestToPlainDamaged has a server that damages what it stores.
func TestToPlainDamaged(t *testing.T) {
	t.Parallel()
	server := &shelf{}
	server.store([]byte("nothing"), nil)
	endpoint, keys := serve(t, server.ServeHTTP), with(encrypting(t), "requestTimeout", "1m", "stallTimeout", "1m")
	mustPut(t, openAt(t, endpoint, keys), "bucket", "key", content(300, 1))
	server.onPut = damaging
	_, err := openAt(t, endpoint, with(leaving(keys), "requestTimeout", "1m", "stallTimeout", "1m")).Rewrap(t.Context(), "bucket", "key", RewrapOptions{ToPlain: true})
	require.Equal(t, s3err.NotConfirmed, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "bring back the version before")
}

// TestRewrapWithoutETag: without an ETag nothing would tell that the object changed.
func TestRewrapWithoutETag(t *testing.T) {
	t.Parallel()
	server := &shelf{}
	server.store([]byte("plain"), nil)
	server.stored.header.Del("Etag")
	_, err := openAt(t, serve(t, server.ServeHTTP), encrypting(t)).Rewrap(t.Context(), "bucket", "key", RewrapOptions{SealPlain: true})
	require.Equal(t, s3err.Unsupported, KindOf(err), "%v", err)
	require.ErrorContains(t, err, "ETag")
	require.Zero(t, server.puts)
}

// TestRewrapWithoutServerSideEncryption: a new object is removed where the storage
// ignores that it was to encrypt it, but not one that replaced another.
func TestRewrapWithoutServerSideEncryption(t *testing.T) {
	t.Parallel()
	server := &shelf{}
	server.store([]byte("plain"), nil)
	s := openAt(t, serve(t, server.ServeHTTP), with(encrypting(t), "serverSideEncryption", "AES256", "requestTimeout", "1m"))
	_, err := s.Rewrap(t.Context(), "bucket", "key", RewrapOptions{SealPlain: true})
	require.Equal(t, s3err.NotConfirmed, KindOf(err), "%v", err)
	require.Equal(t, 1, server.puts)
	require.Equal(t, "plain", string(readAll(t.Context(), t, s, "bucket", "key")))
}

// rewrapperVariable makes the test binary a program that rewraps an object, so that
// its memory can be measured.
const rewrapperVariable = "LONGSHORE_TEST_REWRAP"

// rewrapLarge rewraps an object and prints the program's memory when idle and its
// peak.
func rewrapLarge(ctx context.Context, order string) error {
	var endpoint, bucket, file, public, private string
	if _, err := fmt.Sscan(order, &endpoint, &bucket, &file, &public, &private); err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := Open(ctx, log, map[string]string{
		"s3Url": endpoint, "bucket": bucket, "credentialsFile": file, "encryptionRecipients": public, "encryptionIdentityFile": private,
	})
	if err != nil {
		return err
	}
	if _, err := s.ListObjects(ctx, bucket, ""); err != nil {
		return err
	}
	idle := kilobytes("VmRSS")
	start := time.Now()
	r, err := s.Rewrap(ctx, bucket, "large", RewrapOptions{SealPlain: true})
	fmt.Println(idle, kilobytes("VmHWM"), r.Done, time.Since(start).Milliseconds())
	return err
}

// TestRewrapPeakMemory rewraps 256 MiB with the default settings.
func TestRewrapPeakMemory(t *testing.T) {
	real := startVersity(t)
	bucket, keys := real.bucket(t), encrypting(t)
	const size = 256 << 20
	require.NoError(t, real.open(t, bucket, nil).PutObject(t.Context(), bucket, "large", &messages{left: size, noise: noise{state: 1}}))
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s %s", rewrapperVariable, real.endpoint, bucket,
		credentialsFile(t, real.access, real.secret), keys["encryptionRecipients"], keys["encryptionIdentityFile"]))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var idle, peak, took int64
	var done bool
	_, err = fmt.Sscan(string(out), &idle, &peak, &done, &took)
	require.NoError(t, err)
	require.True(t, done)
	t.Logf("256 MiB: idle %d MB, peak %d MB over idle, %d ms", idle*1024/1e6, (peak-idle)*1024/1e6, took)
	require.Less(t, (peak-idle)*1024, int64(70e6), "the peak over idle, in bytes")
}
