package pluginserver

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// calls counts Velero's calls under way, and turns a panic in one into its
// error.
type calls struct{ underWay atomic.Int64 }

// begin notes the begin of a call. go-plugin's own streams, which last as long as
// the connection, are not work under way.
func (c *calls) begin(method string) (end func()) {
	if !strings.HasPrefix(method, "/generated.") && !strings.HasPrefix(method, "/v2.") {
		return func() {}
	}
	c.underWay.Add(1)
	return func() { c.underWay.Add(-1) }
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
	const often = 100 * time.Millisecond
	for ; c.underWay.Load() > 0 && limit > 0; limit -= often {
		<-time.After(often)
	}
}
