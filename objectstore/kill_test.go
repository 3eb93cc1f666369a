package objectstore

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// putterVariable makes the test binary a program that stores an object, so that
// it can be killed.
const putterVariable = "LONGSHORE_TEST_PUT"

const (
	putterBegins = "begins"
	putterStored = "stored"
)

// putOne stores an object with the content of a seed, and says when it begins and
// when the call has succeeded.
func putOne(ctx context.Context, order string) error {
	var endpoint, bucket, file string
	var size int
	var seed uint64
	if _, err := fmt.Sscan(order, &endpoint, &bucket, &file, &size, &seed); err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := Open(ctx, log, map[string]string{"s3Url": endpoint, "bucket": bucket, "credentialsFile": file})
	if err != nil {
		return err
	}
	data := content(size, seed)
	fmt.Println(putterBegins)
	if err := s.PutObject(ctx, bucket, "key", bytes.NewReader(data)); err != nil {
		return err
	}
	fmt.Println(putterStored)
	return nil
}

// TestKilledUploads kills a program with SIGKILL in the middle of an upload, 40
// times at random moments: under the key is always one whole object, and never one
// that is older than the last upload that succeeded.
func TestKilledUploads(t *testing.T) {
	t.Parallel()
	real := startVersity(t)
	for _, size := range []int{3 << 20, 23 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			k := &killing{server: real, bucket: real.bucket(t), size: size}
			k.file = credentialsFile(t, real.access, real.secret)
			k.store = real.open(t, k.bucket, nil)
			took, stored := k.put(t, 1, time.Hour)
			require.True(t, stored)
			inside, last := 0, uint64(1)
			for try := uint64(2); inside < 20; try++ {
				require.Less(t, try, uint64(200), "only %d kills fell into a call", inside)
				_, stored := k.put(t, try, rand.N(took))
				if stored {
					last = try
				} else {
					inside++
				}
				k.requireWhole(t, last, try)
			}
		})
	}
}

// killing is a key under which uploads are killed.
type killing struct {
	server       *server
	bucket, file string
	size         int
	store        *Store
}

// put stores an object in a program of its own, which is killed so long after the
// call has begun. It returns how long the call took, and whether it succeeded.
func (k *killing) put(t *testing.T, seed uint64, killAfter time.Duration) (time.Duration, bool) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d %d", putterVariable, k.server.endpoint, k.bucket, k.file, k.size, seed))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, putterBegins, strings.TrimSpace(line))
	begun := time.Now()
	timer := time.AfterFunc(killAfter, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	line, _ = lines.ReadString('\n')
	took := time.Since(begun)
	stored := strings.TrimSpace(line) == putterStored
	err = cmd.Wait()
	if !stored {
		require.ErrorContains(t, err, "signal: killed", "the upload ended by itself")
	}
	return took, stored
}

// requireWhole demands a whole object under the key: that of the last upload that
// succeeded, or of one after it that was killed, which the storage may have carried
// out all the same.
func (k *killing) requireWhole(t *testing.T, last, latest uint64) {
	got := readAll(t.Context(), t, k.store, k.bucket, "key")
	for seed := last; seed <= latest; seed++ {
		if bytes.Equal(got, content(k.size, seed)) {
			return
		}
	}
	require.Fail(t, "the object is none of those that it may be", "%d bytes, last stored %d, latest %d", len(got), last, latest)
}
