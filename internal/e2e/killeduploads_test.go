package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	veleroplugin "github.com/vmware-tanzu/velero/pkg/plugin/velero"

	"github.com/longshore-dev/velero-plugin/internal/testbed"
)

// kills is how many times the plugin is killed within an upload, half of the
// times within one of a single request. Kills that come when the upload has just
// ended do not count.
const kills = 40

// TestKilledUploads kills the plugin with SIGKILL at random moments of uploads
// that replace an object of the same size. The object is then the former or the
// new one, and it is the new one if Velero was told so.
func TestKilledUploads(t *testing.T) {
	s3, err := testbed.ForTest(t).StartS3(t.Context(), testbed.S3Options{Buckets: []string{pluginBucket}})
	require.NoError(t, err)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", s3.CredentialsFile)
	k := &killing{
		program: pluginBinary(t),
		plain:   s3Client(t, s3),
		random:  rand.NewChaCha8([32]byte{}),
	}
	client := newVeleroClient(t, k.program)
	store := openLocation(t, client, s3)
	for _, size := range []int{100_000, 24 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) { k.run(t, store, size) })
	}
}

type killing struct {
	program string
	plain   *minio.Client
	random  *rand.ChaCha8
}

func (k *killing) run(t *testing.T, store veleroplugin.ObjectStore, size int) {
	former := k.content(size)
	begin := time.Now()
	require.NoError(t, store.PutObject(pluginBucket, "object", bytes.NewReader(former)))
	takes := time.Since(begin)
	// possible are the contents that the object may have: that of the last upload
	// that Velero was told is stored, and those of the killed ones since. The
	// server may finish a request whose sender is gone.
	possible, within := [][]byte{former}, 0
	for i := 0; within < kills/2; i++ {
		require.Less(t, i, 5*kills, "only %d kills fell within the call", within)
		possible = append(possible, k.content(size))
		newest := len(possible) - 1
		killed, err := k.killedUpload(t, store, possible[newest], time.Duration(rand.Int64N(int64(takes))))
		if killed {
			within++
		} else {
			require.NoError(t, err, "upload %d", i)
		}
		if err == nil {
			possible = possible[newest:]
		}
		stored := k.stored(t)
		require.True(t, slices.ContainsFunc(possible, func(content []byte) bool { return bytes.Equal(content, stored) }),
			"upload %d: the object of %d bytes is none that was uploaded, or not the one that is stored", i, len(stored))
	}
}

// killedUpload uploads, and kills the plugin a while after it began to read.
// killed says whether the call had not ended then.
func (k *killing) killedUpload(t *testing.T, store veleroplugin.ObjectStore, body []byte, after time.Duration) (killed bool, err error) {
	t.Helper()
	k.awaitPlugin(t, store)
	var ended, within atomic.Bool
	pid := childProcesses(t, k.program)[0]
	timer := time.AfterFunc(after, func() {
		within.Store(!ended.Load())
		_ = syscall.Kill(pid, syscall.SIGKILL)
	})
	err = store.PutObject(pluginBucket, "object", bytes.NewReader(body))
	ended.Store(true)
	timer.Stop()
	return within.Load(), err
}

// awaitPlugin waits until Velero's client has a plugin again.
func (k *killing) awaitPlugin(t *testing.T, store veleroplugin.ObjectStore) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := store.ObjectExists(pluginBucket, "object")
		return err == nil && len(childProcesses(t, k.program)) == 1
	}, 20*time.Second, 10*time.Millisecond)
}

func (k *killing) content(size int) []byte {
	content := make([]byte, size)
	_, _ = k.random.Read(content)
	return content
}

// stored is the object as the server has it.
func (k *killing) stored(t *testing.T) []byte {
	t.Helper()
	object, err := k.plain.GetObject(t.Context(), pluginBucket, "object", minio.GetObjectOptions{})
	require.NoError(t, err)
	defer object.Close()
	content, err := io.ReadAll(object)
	require.NoError(t, err)
	return content
}
