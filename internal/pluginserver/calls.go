package pluginserver

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// calls counts Velero's calls under way, and turns a panic in one into its
// error.
type calls struct{ underWay sync.WaitGroup }

// begin notes the begin of a call. go-plugin's own streams, which last as long as
// the connection, are not work under way.
func (c *calls) begin(method string) (end func()) {
	if !strings.HasPrefix(method, "/generated.") {
		return func() {}
	}
	c.underWay.Add(1)
	return c.underWay.Done
}

func (c *calls) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer c.begin(info.FullMethod)()
	defer recoverInto(&err)
	return handler(ctx, req)
}

func (c *calls) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer c.begin(info.FullMethod)()
	defer recoverInto(&err)
	return handler(srv, stream)
}

// waitAtMost waits for the end of all calls.
func (c *calls) waitAtMost(limit time.Duration) {
	done := make(chan struct{})
	go func() { // it cannot panic: nothing but waiting happens here
		c.underWay.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}
