package objectstore

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
)

// moverVariable makes the test binary a program that moves an object, so that
// its memory can be measured: a plugin is a process of its own, too.
const moverVariable = "LONGSHORE_TEST_MOVE"

func TestMain(m *testing.M) {
	for variable, program := range map[string]func(context.Context, string) error{
		moverVariable: move, fipsVariable: moveWithFIPS, callerVariable: callAll, rewrapperVariable: rewrapLarge,
	} {
		order := os.Getenv(variable)
		if order == "" {
			continue
		}
		if err := program(context.Background(), order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if leaked := leakedSecret(); leaked != "" {
		fmt.Fprintln(os.Stderr, "FAIL: a log or an error holds the secret", leaked)
		code = 1
	}
	os.Exit(code)
}

// messages is a body as pluginserver gives it, in fresh messages of 16 KiB.
type messages struct {
	left  int64
	noise noise
	chunk []byte
}

func (b *messages) Read(p []byte) (int, error) {
	if len(b.chunk) == 0 && b.left == 0 {
		return 0, io.EOF
	}
	if len(b.chunk) == 0 {
		b.chunk = make([]byte, min(16<<10, b.left))
		b.left -= int64(len(b.chunk))
		_, _ = b.noise.Read(b.chunk)
	}
	n := copy(p, b.chunk)
	b.chunk = b.chunk[n:]
	return n, nil
}

// move stores and reads an object, and prints its memory when idle, its peak, and
// the rates. It then reads it in ranges, and prints its memory before and the peak.
func move(ctx context.Context, order string) error {
	var endpoint, bucket, file string
	var size int64
	if _, err := fmt.Sscan(order, &endpoint, &bucket, &file, &size); err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	s, err := Open(ctx, log, map[string]string{"s3Url": endpoint, "bucket": bucket, "credentialsFile": file})
	if err != nil {
		return err
	}
	if _, err := s.ListObjects(ctx, bucket, ""); err != nil {
		return err
	}
	idle := kilobytes("VmRSS")
	start := time.Now()
	if err := s.PutObject(ctx, bucket, "large", &messages{left: size, noise: noise{state: 1}}); err != nil {
		return err
	}
	put, start := time.Since(start), time.Now()
	n, err := read(ctx, s, bucket)
	if err != nil {
		return err
	}
	fmt.Println(idle, kilobytes("VmHWM"), n, put.Milliseconds(), time.Since(start).Milliseconds())
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // begins VmHWM anew
		return err
	}
	before := kilobytes("VmRSS")
	s.downloader.Ranges.LongWay = 0
	n, err = read(ctx, s, bucket)
	fmt.Println(before, kilobytes("VmHWM"), n)
	return err
}

func read(ctx context.Context, s *Store, bucket string) (int64, error) {
	body, err := s.GetObject(ctx, bucket, "large")
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.Copy(io.Discard, body)
}

func kilobytes(field string) int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), field+":")
	n, _ := strconv.ParseInt(strings.Fields(after + " 0")[0], 10, 64)
	return n
}

// TestPeakMemory stores 1 GiB with the default settings in a process of its own.
func TestPeakMemory(t *testing.T) {
	real := startVersity(t)
	const size = 1 << 30
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d", moverVariable, real.endpoint, real.bucket(t), credentialsFile(t, real.access, real.secret), size))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var idle, peak, n, put, get, before, inRanges, again int64
	_, err = fmt.Sscan(string(out), &idle, &peak, &n, &put, &get, &before, &inRanges, &again)
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	require.EqualValues(t, size, again)
	t.Logf("1 GiB: idle %d MB, peak %d MB over idle, put %d MiB/s, get %d MiB/s", idle*1024/1e6, (peak-idle)*1024/1e6, 1024*1000/put, 1024*1000/get)
	require.Less(t, (peak-idle)*1024, int64(64e6), "the peak over idle, in bytes")
	t.Logf("1 GiB in ranges: before %d MB, peak %d MB over it", before*1024/1e6, (inRanges-before)*1024/1e6)
	require.Greater(t, (inRanges-before)*1024, int64(15<<20), "it was not read in ranges")
	// 24 MiB, a quarter of it that the garbage collector leaves, and what the program
	// and the connections touch for the first time; 27 MiB here, five times.
	require.Less(t, (inRanges-before)*1024, int64(36<<20), "the peak of a download in ranges, in bytes")
}
