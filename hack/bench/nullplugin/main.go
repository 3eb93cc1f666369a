// Command nullplugin is a plugin on our server that stores nothing: it reads what
// is put and gives a gibibyte of one block over and over. It shows the most that
// any plugin can reach with Velero's client.
package main

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/longshore-dev/velero-plugin/internal/pluginserver"
)

const size = 1 << 30

func main() {
	flags := pluginserver.ParseFlags(os.Args[1:])
	block := make([]byte, 1<<20)
	source := rand.NewChaCha8([32]byte{'b', 'e', 'n', 'c', 'h'})
	_, _ = source.Read(block) // It never fails.
	pluginserver.Serve(pluginserver.Plugins{
		Name: "longshore.dev/null",
		ObjectStore: func(context.Context, map[string]string) (pluginserver.ObjectStore, error) {
			return null{block}, nil
		},
		VolumeSnapshotter: func(context.Context, map[string]string) (pluginserver.VolumeSnapshotter, error) {
			return nil, os.ErrInvalid
		},
	}, pluginserver.NewLogger(os.Stderr, flags.LogLevel))
}

type null struct{ block []byte }

func (null) PutObject(_ context.Context, _, _ string, body io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, make([]byte, 1<<20))
	return err
}

func (n null) GetObject(context.Context, string, string) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(&repeated{block: n.block}, size)), nil
}

type repeated struct {
	block []byte
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}

func (null) ObjectExists(context.Context, string, string) (bool, error) { return false, nil }

func (null) ListCommonPrefixes(context.Context, string, string, string) ([]string, error) {
	return nil, nil
}

func (null) ListObjects(context.Context, string, string) ([]string, error) { return nil, nil }

func (null) DeleteObject(context.Context, string, string) error { return nil }

func (null) CreateSignedURL(context.Context, string, string, time.Duration) (string, error) {
	return "", nil
}
