package pluginserver

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
)

const (
	// orphanCheck is how often the process looks whether Velero is still there.
	orphanCheck = time.Second
	// orphanLimit bounds how long calls may go on without Velero: they clean up.
	orphanLimit = 2 * time.Minute
)

// calls counts the calls under way.
type calls struct {
	sync.WaitGroup
	processors *processors
}

// begin notes the begin of a call. go-plugin's own streams, which last as long as
// the connection, are not work under way.
func (c *calls) begin(method string) (end func()) {
	if !strings.HasPrefix(method, "/generated.") {
		return func() {}
	}
	c.Add(1)
	c.processors.begin()
	return func() {
		c.processors.end()
		c.Done()
	}
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

// outliveVelero lets the process live on when Velero is killed, as long as
// calls under way need to clean up, and not longer. Their contexts have ended
// with the connection. Without it the first line of log would end the process,
// since nobody reads it, and parts of an upload would stay behind.
func outliveVelero(ours *calls, log logrus.FieldLogger) {
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		awaitOrphanhood(os.Getppid())
		log.Info("Velero is gone; ending")
		ours.waitAtMost(orphanLimit)
		os.Exit(0)
	}()
}

func awaitOrphanhood(parent int) {
	ticker := time.NewTicker(orphanCheck)
	defer ticker.Stop()
	for os.Getppid() == parent {
		<-ticker.C
	}
}

func (c *calls) waitAtMost(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		c.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}
