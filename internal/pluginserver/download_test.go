package pluginserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/longshore-dev/velero-plugin/internal/waits"
)

const testName = "longshore.dev/test"

// objects is an object store of zeros that counts its open objects. The name of
// an object is its size in bytes.
type objects struct {
	ObjectStore
	open, most atomic.Int64
}

func (o *objects) GetObject(_ context.Context, _, key string) (io.ReadCloser, error) {
	if key == "panic" {
		panic("at the disco")
	}
	var size int64
	if _, err := fmt.Sscan(key, &size); err != nil {
		return nil, err
	}
	now := o.open.Add(1)
	for most := o.most.Load(); now > most && !o.most.CompareAndSwap(most, now); most = o.most.Load() {
	}
	return &object{Reader: io.LimitReader(zeros{}, size), close: func() { o.open.Add(-1) }}, nil
}

type object struct {
	io.Reader
	close func()
	once  sync.Once
}

func (o *object) Close() error {
	o.once.Do(o.close)
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// serveObjects serves objects in this process, as Serve does in one of its own.
func serveObjects(t *testing.T, store ObjectStore, d *downloads) generated.ObjectStoreClient {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	stores := newInstance(testName, func(context.Context, map[string]string) (ObjectStore, error) { return store, nil })
	require.NoError(t, stores.init(t.Context(), testName, nil))
	log := logrus.New()
	log.SetOutput(io.Discard)
	server := new(calls).newGRPCServer(nil)
	generated.RegisterObjectStoreServer(server, &objectStoreServer{stores: stores, downloads: d, log: log})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { connection.Close() })
	return generated.NewObjectStoreClient(connection)
}

func fewDownloads(atOnce int64, takeLimit time.Duration) *downloads {
	d := newDownloads(logrus.New())
	d.atOnce, d.takeLimit = waits.NewQueue(atOnce), takeLimit
	return d
}

func get(ctx context.Context, client generated.ObjectStoreClient, key string) (int, error) {
	stream, err := client.GetObject(ctx, &generated.GetObjectRequest{Plugin: testName, Key: key})
	if err != nil {
		return 0, err
	}
	return receive(stream)
}

// receive reads a download to its end.
func receive(stream generated.ObjectStore_GetObjectClient) (size int, err error) {
	all, err := receiveAll(stream)
	return len(all), err
}

func receiveAll(stream generated.ObjectStore_GetObjectClient) (all []byte, err error) {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, message.Data...)
	}
}

func TestDownloadsWaitForTheirTurn(t *testing.T) {
	store := &objects{}
	client := serveObjects(t, store, newDownloads(logrus.New()))
	var all errgroup.Group
	for range 10 * downloadsAtOnce {
		all.Go(func() error {
			size, err := get(t.Context(), client, "300000")
			if err == nil && size != 300_000 {
				err = fmt.Errorf("%d bytes arrived", size)
			}
			return err
		})
	}
	require.NoError(t, all.Wait())
	require.LessOrEqual(t, store.most.Load(), int64(downloadsAtOnce))
	require.Zero(t, store.open.Load())
}

// noise is an object store of random bytes: the name of an object is its size in
// bytes, and what it begins from.
type noise struct{ ObjectStore }

func (noise) GetObject(_ context.Context, _, key string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(noiseOf(key))), nil
}

func noiseOf(key string) []byte {
	var size int
	var seed uint64
	_, _ = fmt.Sscan(key, &size, &seed)
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(content)
	return content
}

// TestDownloadContent reads objects of sizes about those of messages and blocks,
// many at once, since they take their memory from one pool.
func TestDownloadContent(t *testing.T) {
	client := serveObjects(t, noise{}, newDownloads(logrus.New()))
	var all errgroup.Group
	for seed, size := range []int{0, 1, messageSize, messageSize + 1, 4*messageSize - 1, 4 * messageSize, 4*messageSize + 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		for range 8 {
			all.Go(func() error {
				key := fmt.Sprint(size, seed)
				stream, err := client.GetObject(t.Context(), &generated.GetObjectRequest{Plugin: testName, Key: key})
				if err != nil {
					return err
				}
				got, err := receiveAll(stream)
				if err == nil && !bytes.Equal(got, noiseOf(key)) {
					err = fmt.Errorf("%q arrived with other content, of %d bytes", key, len(got))
				}
				return err
			})
		}
	}
	require.NoError(t, all.Wait())
}

// TestDownloadThatNobodyTakes leaves downloads as Velero's client does that
// closes them before their end: it takes no more and says nothing.
func TestDownloadThatNobodyTakes(t *testing.T) {
	store := &objects{}
	client := serveObjects(t, store, fewDownloads(2, time.Second))
	var left []generated.ObjectStore_GetObjectClient
	for range 4 {
		stream, err := client.GetObject(t.Context(), &generated.GetObjectRequest{Plugin: testName, Bucket: "b", Key: "100000000"})
		require.NoError(t, err)
		left = append(left, stream)
	}
	require.Eventually(t, func() bool { return store.open.Load() == 2 }, 10*time.Second, time.Millisecond)
	size, err := get(t.Context(), client, "1000")
	require.NoError(t, err, "a download behind those that nobody takes")
	require.Equal(t, 1000, size)
	require.Eventually(t, func() bool { return store.open.Load() == 0 }, 10*time.Second, 10*time.Millisecond, "objects are left open")
	for _, stream := range left {
		_, err := receive(stream)
		require.ErrorContains(t, err, `get object "100000000" from bucket "b": Velero took nothing of it for 1s`)
	}
}

// TestSlowDownload takes a message now and then: that is progress.
func TestSlowDownload(t *testing.T) {
	client := serveObjects(t, &objects{}, fewDownloads(1, time.Second))
	stream, err := client.GetObject(t.Context(), &generated.GetObjectRequest{Plugin: testName, Key: "3000000"})
	require.NoError(t, err)
	size := 0
	for begin := time.Now(); time.Since(begin) < 3*time.Second; time.Sleep(50 * time.Millisecond) {
		message, err := stream.Recv()
		require.NoError(t, err)
		size += len(message.Data)
	}
	rest, err := receive(stream)
	require.NoError(t, err)
	require.Equal(t, 3_000_000, size+rest)
}

// deaf is the stream of a download of which Velero takes nothing.
type deaf struct {
	generated.ObjectStore_GetObjectServer
	ctx context.Context //nolint:containedctx // a stream has one
}

func (s deaf) Context() context.Context { return s.ctx }

func (s deaf) Send(*generated.Bytes) error {
	<-s.ctx.Done()
	return s.ctx.Err()
}

// TestWaitsOfDownloadsAreTold has a download that nobody takes, and one behind it.
func TestWaitsOfDownloadsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, told := logrustest.NewNullLogger()
		d := newDownloads(log)
		d.atOnce = waits.NewQueue(1)
		serve := func(key string) error {
			ctx, end := context.WithCancel(t.Context())
			defer end() // as gRPC does when a call has ended
			return d.serve(&objects{}, &generated.GetObjectRequest{Bucket: "b", Key: key}, deaf{ctx: ctx})
		}
		ahead := make(chan error)
		go func() { ahead <- serve("1000") }()
		synctest.Wait()
		behind := make(chan error)
		go func() { behind <- serve("2000") }()

		time.Sleep(waits.FirstNotice - time.Nanosecond)
		require.Empty(t, told.AllEntries(), "short waits are not told")
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		limits := map[any]any{}
		for _, e := range told.AllEntries() {
			require.Equal(t, "15s", e.Data["waitedFor"])
			limits[e.Message+" "+e.Data["key"].(string)] = e.Data["endsAfter"]
		}
		require.Equal(t, map[any]any{
			"Download is waiting for Velero to take more of it 1000":        "3m0s",
			"Download is waiting for one of 32 other downloads to end 2000": "4h0m0s",
		}, limits)
		require.ErrorContains(t, <-ahead, "Velero took nothing of it for 3m0s")
		require.ErrorContains(t, <-behind, "Velero took nothing of it for 3m0s")
	})
}

// cutOff is an object store whose objects break off.
type cutOff struct{ ObjectStore }

func (cutOff) GetObject(context.Context, string, string) (io.ReadCloser, error) {
	broken := fmt.Errorf("the credentials service closed the connection: %w", io.EOF)
	return io.NopCloser(io.MultiReader(strings.NewReader("half of it"), iotest.ErrReader(broken))), nil
}

// TestDownloadThatBreaksOff fails with an error that wraps io.EOF, and is no end.
func TestDownloadThatBreaksOff(t *testing.T) {
	size, err := get(t.Context(), serveObjects(t, cutOff{}, fewDownloads(1, time.Minute)), "key")
	require.Equal(t, len("half of it"), size)
	require.ErrorContains(t, err, "closed the connection")
}

func TestDownloadThatPanics(t *testing.T) {
	client := serveObjects(t, &objects{}, fewDownloads(1, time.Minute))
	_, err := get(t.Context(), client, "panic")
	require.ErrorContains(t, err, "plugin panicked: at the disco")
	size, err := get(t.Context(), client, "10")
	require.NoError(t, err)
	require.Equal(t, 10, size)
}
